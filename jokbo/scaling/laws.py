"""The laws: Chinchilla's parametric loss, and Kaplan's.

Shape letters: P numbers of a law, R runs.
"""

from __future__ import annotations

import numpy as np

from jokbo.scaling.counting import FLOPS_EACH
from jokbo.scaling.fitting import Form
from jokbo.scaling.runs import Counted

ANY, EXPONENT = (-np.inf, np.inf), (1e-3, 3.0)  # bounds


def chinchilla(theta_P: np.ndarray, runs: Counted) -> tuple[np.ndarray, np.ndarray]:
    """Return log L [R] and derivatives [P, R] of L = E + A / N^alpha + B / D^beta, with P = (e, a, b, alpha, beta).

    Hoffmann et al. 2022, equation 2, where e, a and b are the logarithms of E, A and B (appendix D.3).
    """
    e, a, b, alpha, beta = theta_P
    size_R, data_R = np.log(runs.parameters), np.log(runs.tokens)
    terms_3R = np.stack([np.full(len(runs), e), a - alpha * size_R, b - beta * data_R])
    log_R = np.logaddexp.reduce(terms_3R)
    share_3R = np.exp(terms_3R - log_R)
    slopes_PR = np.stack([*share_3R, -size_R * share_3R[1], -data_R * share_3R[2]])
    return log_R, slopes_PR


CHINCHILLA = Form(
    "E + A / N^alpha + B / D^beta",
    ("log E", "log A", "log B", "alpha", "beta"),
    chinchilla,
    # Hoffmann et al. 2022, appendix D.3, but for exponents of zero
    (np.arange(-1, 1.5, 0.5), np.arange(0, 30, 5), np.arange(0, 30, 5), *[np.arange(0.05, 2.5, 0.49)] * 2),
    ((-5, 3), ANY, ANY, EXPONENT, EXPONENT),
    ((1, 3, "parameters"), (2, 4, "tokens")),
    lambda theta: {
        "E": np.exp(theta[..., 0]),
        "A": np.exp(theta[..., 1]),
        "B": np.exp(theta[..., 2]),
        "alpha": theta[..., 3],
        "beta": theta[..., 4],
    },
)


def kaplan(theta_P: np.ndarray, runs: Counted) -> tuple[np.ndarray, np.ndarray]:
    """Return log L [R] and derivatives [P, R] of Kaplan et al. 2020, equation 1.5.

    L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D; where D or N is without limit, equations 1.1 and 1.2. P are
    r log N_c, log D_c, r = alpha_N / alpha_D, and alpha_D.
    """
    size, data, ratio, alpha_d = theta_P
    size_R = np.log(runs.parameters)
    terms_2R = np.stack([size - ratio * size_R, data - np.log(runs.tokens)])
    sum_R = np.logaddexp.reduce(terms_2R)
    share_2R = np.exp(terms_2R - sum_R)
    slopes_PR = np.stack([*(alpha_d * share_2R), -alpha_d * share_2R[0] * size_R, sum_R])
    return alpha_d * sum_R, slopes_PR


KAPLAN = Form(
    "((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D",
    ("r log N_c", "log D_c", "alpha_N / alpha_D", "alpha_D"),
    kaplan,
    (np.arange(5, 60, 5), np.arange(5, 60, 5), (0.25, 0.5, 1, 2, 4), (0.05, 0.1, 0.2, 0.4, 0.8)),
    (ANY, ANY, (1e-3, 100), EXPONENT),
    ((0, 2, "parameters"),),
    lambda theta: {
        "N_c": np.exp(theta[..., 0] / theta[..., 2]),
        "D_c": np.exp(theta[..., 1]),
        "alpha_N": theta[..., 2] * theta[..., 3],
        "alpha_D": theta[..., 3],
    },
)


def loss(form: Form, theta_P: np.ndarray, parameters: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the loss that a law predicts, nats a token."""
    return np.exp(form.predict(theta_P, Counted(parameters, tokens, np.ones_like(parameters)))[0])


def optimum(theta_P: np.ndarray, flops: float) -> tuple[float, float]:
    """Return the parameters and tokens at which Chinchilla's law is lowest for so many FLOPs, 6 N D.

    Hoffmann et al. 2022, equation 4: N = G (C / 6)^a, D = (C / 6)^b / G, with a = beta / (alpha + beta), b = 1 - a.
    """
    _, a, b, alpha, beta = theta_P
    log_g = (np.log(alpha) + a - np.log(beta) - b) / (alpha + beta)
    log_n = log_g + beta / (alpha + beta) * np.log(flops / FLOPS_EACH)
    return float(np.exp(log_n)), float(flops / FLOPS_EACH / np.exp(log_n))


def exponent(theta_P: np.ndarray) -> np.ndarray:
    """Return a of N_opt = G (C / 6)^a, from numbers [..., P] of Chinchilla's law."""
    return theta_P[..., 4] / (theta_P[..., 3] + theta_P[..., 4])
