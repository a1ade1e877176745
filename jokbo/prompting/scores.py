"""Which option a model chooses, by several scores of the same likelihoods; how often that is right.

Shapes: O options, F questions without content, S seeds of examples, N rows, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from jokbo.evaluation import intervals
from jokbo.evaluation.intervals import Interval
from jokbo.runtime.errors import InputError

SUM, TOKEN, CHARACTER = "sum", "token", "character"
UNCONDITIONAL, CALIBRATED = "unconditional", "calibrated"
SCORES = (SUM, TOKEN, CHARACTER, UNCONDITIONAL, CALIBRATED)
Numbers = NDArray[np.float64]


def scored(
    nats: ArrayLike, tokens: ArrayLike, characters: ArrayLike, unconditional: ArrayLike
) -> dict[str, Numbers]:
    """Return the scores [O] of a question's options, given log p of each, its lengths and its unconditional log p.

    Brown et al. 2020, section 2.4: the likelihood of a whole option, or that of a token, or the ratio to its likelihood
    after a text that has no question. A character: `acc_norm` of lm-evaluation-harness, which has `acc` by the sum.
    """
    nats_O = np.asarray(nats, dtype=float)
    return {
        SUM: nats_O,
        TOKEN: nats_O / np.asarray(tokens),
        CHARACTER: nats_O / np.asarray(characters),
        UNCONDITIONAL: nats_O - np.asarray(unconditional),
    }


def calibrated(nats: ArrayLike, content_free: ArrayLike) -> Numbers:
    """Return the log of the calibrated probabilities of options, [O], given log p after the question, [O], and after
    each question without content, [F, O].

    Zhao et al. 2021, section 4: probabilities over the options are divided by what they are, on average, without
    content (W = diag(p)^-1, b = 0), so that no option is preferred there.
    """
    free_O = np.exp(_log_shares(content_free)).mean(0)
    return _log_shares(_log_shares(nats) - np.log(free_O))


def _log_shares(nats: ArrayLike) -> Numbers:
    found = np.asarray(nats, dtype=float)
    return found - logsumexp(found, axis=-1, keepdims=True)


def over_rows_and_seeds(values: ArrayLike, *, samples: int, seed: int) -> Interval:
    """Return the mean of values [S, N] with the percentile interval of `resampled` rows and seeds."""
    values_SN = np.atleast_2d(np.asarray(values, dtype=float))
    return intervals.of_resamples(float(values_SN.mean()), resampled(values_SN, samples=samples, seed=seed))


def resampled(values_SN: Numbers, *, samples: int, seed: int) -> Numbers:
    """Return the means [R] of resampled rows and seeds.

    Both are drawn anew, each by itself (Owen 2007, the pigeonhole bootstrap), as the same rows are asked with the
    examples of every seed. One seed alone is not drawn anew: then the resamples are of the rows. InputError for fewer
    than two rows.
    """
    seeds, rows = values_SN.shape
    if rows < 2:
        raise InputError(f"an interval needs two rows or more, not {rows}: ask more")
    rng = np.random.default_rng(seed)
    drawn_RS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=samples) / seeds
    drawn_RN = rng.multinomial(rows, np.full(rows, 1 / rows), size=samples) / rows
    return np.einsum("rs,sn,rn->r", drawn_RS, values_SN, drawn_RN, optimize=True)


def likeliest(scores_O: Numbers) -> int:
    """Return the first of the options with the highest score."""
    return int(np.argmax(scores_O))


def majority(right: Sequence[int]) -> float:
    """Return the share of rows that who always gave the commonest answer would have right."""
    return float(np.bincount(right).max() / len(right))
