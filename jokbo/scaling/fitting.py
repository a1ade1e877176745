"""How a law is fitted: Huber's loss on log-losses, L-BFGS from a grid of starts, and the bootstrap.

Hoffmann et al. 2022, equation 3 and appendix D.3. The objective is a sum, not a mean: with a mean of values this small
L-BFGS stops too early (Besiroglu et al. 2024, section 3).

Shape letters: K starts, P numbers of a law, R runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import huber

from jokbo.runtime.errors import InputError
from jokbo.scaling.runs import Counted

DELTA = 1e-3  # of Huber's loss (Hoffmann et al. 2022, appendix D.3)
DESCENDED = 24  # starts of the grid, the best ones, from which L-BFGS descends
AGREE, LEAST_ALIKE = (
    1e-2,
    2,
)  # relative difference of objectives that are the same, and descents that must come to it
EXACT = 1e-10  # of the objective, a run: losses that are told to some 1e-5, such as without noise
RESTARTS, GAIN = 30, 1e-6  # of L-BFGS where it stops, and the share of the objective for which it goes on
OPTIONS = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-12, "gtol": 1e-7, "maxcor": 30}
# rows [R, ...] of a law: its log-losses [R] and their derivatives [P, R]
Law = Callable[[np.ndarray, Counted], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Form:
    """A law to be fitted."""

    name: str
    names: tuple[str, ...]  # of its P numbers
    predict: Law  # log of the loss, and derivatives
    grid: Sequence[Sequence[float] | np.ndarray]  # starts for each of the numbers
    bounds: Sequence[tuple[float, float]]
    # pairs of numbers, a constant and the exponent that goes with it, and whether that is of parameters or of tokens
    centred: Sequence[tuple[int, int, Literal["parameters", "tokens"]]]
    read: Callable[[np.ndarray], dict[str, np.ndarray]]  # what is told of numbers [..., P]

    def centre(self, runs: Counted) -> np.ndarray:
        """Return the matrix [P, P] by which numbers follow from those over centred logarithms.

        A constant and its exponent are nearly one over logarithms far from zero, where L-BFGS would creep.
        """
        matrix_PP = np.eye(len(self.names))
        for constant, exponent, of in self.centred:
            matrix_PP[constant, exponent] = np.log(getattr(runs, of)).mean()
        return matrix_PP


class Optimum(NamedTuple):
    """Where L-BFGS ended."""

    theta: np.ndarray  # float [P]
    value: float  # of the objective
    converged: bool  # L-BFGS, begun again there, gains nothing


def objective(form: Form, theta_P: np.ndarray, runs: Counted) -> tuple[float, np.ndarray]:
    """Return the sum of Huber's losses of the log-losses, and its gradient [P]."""
    log_R, slopes_PR = form.predict(theta_P, runs)
    off_R = log_R - np.log(runs.loss)
    return float(huber(DELTA, off_R).sum()), slopes_PR @ np.clip(off_R, -DELTA, DELTA)


def descend(form: Form, start_P: np.ndarray, runs: Counted) -> Optimum:
    """Return where L-BFGS comes to from a start, begun again where it stops until that gains no more.

    With DELTA below the noise Huber's loss has corners, at which L-BFGS may take its last step for the end.
    """
    matrix_PP = form.centre(runs)
    free = {constant for constant, _, _ in form.centred}
    bounds = [(None, None) if index in free else each for index, each in enumerate(form.bounds)]

    def scaled(phi_P: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope_P = objective(form, matrix_PP @ phi_P, runs)
        return value / DELTA, matrix_PP.T @ slope_P / DELTA

    exact = EXACT * len(runs) / DELTA
    phi_P, value, converged = np.linalg.solve(matrix_PP, start_P), np.inf, False
    for _ in range(RESTARTS):
        found = minimize(scaled, phi_P, jac=True, method="L-BFGS-B", bounds=bounds, options=OPTIONS)
        converged = np.isfinite(found.fun) and (found.fun >= value * (1 - GAIN) or found.fun < exact)
        phi_P, value = found.x, float(found.fun)
        if converged:
            break
    return Optimum(matrix_PP @ phi_P, value * DELTA, bool(converged))


def fit(form: Form, runs: Counted) -> Optimum:
    """Return the best of the descents from the grid's most promising starts. InputError if it is no optimum."""
    starts_KP = np.array(list(product(*form.grid)), dtype=float)
    values = [objective(form, start_P, runs)[0] for start_P in starts_KP]
    chosen = np.argsort(values, kind="stable")[:DESCENDED]
    ends = [descend(form, starts_KP[start], runs) for start in chosen]
    best = min(ends, key=lambda each: each.value)
    alike = sum(each.value <= best.value * (1 + AGREE) + EXACT * len(runs) for each in ends)
    if not best.converged or alike < LEAST_ALIKE:
        raise InputError(
            f"{form.name}: the fit has not converged: of {len(ends)} starts {alike} came to the lowest value: give it "
            "more runs"
        )
    for name, value, (low, high) in zip(form.names, best.theta, form.bounds, strict=True):
        if np.isfinite(high - low) and min(value - low, high - value) < 1e-6 * (high - low):
            raise InputError(
                f"{form.name}: the fit has not converged: {name} runs away to {value:.3g}: the runs do not tell it; "
                "give it more sizes, or more tokens for each"
            )
    return best


def resampled(form: Form, runs: Counted, best: Optimum, draws: Sequence[np.ndarray]) -> np.ndarray:
    """Return the numbers [draws, P] that the law has in each of the resamples of the runs (row numbers)."""
    return np.array([descend(form, best.theta, runs.of(rows)).theta for rows in draws])


def resamples(count: int, samples: int, seed: int) -> list[np.ndarray]:
    """Return `samples` draws of as many runs as there are, with replacement (Efron and Tibshirani 1993, chapter 6)."""
    rng = np.random.default_rng(seed)
    return [rng.integers(count, size=count) for _ in range(samples)]
