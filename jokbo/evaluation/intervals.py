"""Means and win rates with intervals: by the bootstrap over prompts, or by the units that values have in common."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.stats import bootstrap, t

from jokbo.runtime.errors import InputError


class Interval(NamedTuple):
    value: float
    low: float
    high: float


class Estimate(NamedTuple):
    value: float
    standard_error: float
    low: float
    high: float
    units: int  # that it rests on


Estimated = dict[str, int | float]  # an Estimate, by field


def mean(values: ArrayLike, *, samples: int, seed: int, confidence: float = 0.95) -> Interval:
    """Return the mean of independent values with the percentile bootstrap's interval (Efron and Tibshirani 1993, 13.3).

    `samples` is the number of resamples. Raises InputError for fewer than two values.
    """
    values_N = np.asarray(values, dtype=float)
    if len(values_N) < 2:
        raise InputError(f"an interval needs two values or more, not {len(values_N)}: evaluate more prompts")
    interval = bootstrap(
        (values_N,),
        np.mean,
        n_resamples=samples,
        batch=1000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(values_N.mean()), float(interval.low), float(interval.high))


def of_resamples(value: float, drawn: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return a value with the percentile interval of what it is in resamples, as `mean` has it of a mean."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(drawn, dtype=float), [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def win_rate(
    ours: ArrayLike, theirs: ArrayLike, *, samples: int, seed: int, confidence: float = 0.95
) -> Interval:
    """Return the share of prompts on which `ours[i]` beats `theirs[i]`, a tie counting half, with its interval.

    Both scores of a prompt are resampled together: the bootstrap is a paired one, over prompts.
    """
    ours_N, theirs_N = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if len(ours_N) != len(theirs_N):
        raise InputError(
            f"win rate: {len(ours_N)} scores against {len(theirs_N)}; both need the same prompts"
        )
    wins_N = (1 + np.sign(ours_N - theirs_N)) / 2
    return mean(wins_N, samples=samples, seed=seed, confidence=confidence)


def by_unit(values: ArrayLike, units: Sequence[Sequence[Hashable]], *, confidence: float = 0.95) -> Estimate:
    """Return the mean of values that are no independent ones: two of them that share a unit may err together.

    `units[i]` names all that value i is of: a sentence's review, or both texts of a comparison. The variance is the sum
    of the products of all deviations that share a unit, each pair of values once (Aronow, Samii and Assenova 2015,
    equation 3), times U / (U - 1) for U units; at least that of independent values. The interval is Student's for
    U - 1 degrees of freedom, kept between the smallest and the largest value. Raises InputError for fewer than two
    units.
    """
    value_N = np.asarray(values, dtype=float)
    number: dict[Hashable, int] = {}
    for unit in chain.from_iterable(units):
        number.setdefault(unit, len(number))
    if len(value_N) != len(units) or len(number) < 2:
        raise InputError(
            f"an interval of {len(value_N)} values of {len(units)} rows and {len(number)} independent units: it needs "
            "a row a value and two units or more"
        )
    row_M = np.repeat(np.arange(len(units)), [len(own) for own in units])
    column_M = [number[unit] for unit in chain.from_iterable(units)]
    of_NU = csr_array((np.ones(len(column_M)), (row_M, column_M)), shape=(len(units), len(number)))
    together_NN = (of_NU @ of_NU.T).sign()
    off_N = value_N - value_N.mean()
    variance = max(off_N @ (together_NN @ off_N), off_N @ off_N) / len(off_N) ** 2
    error = float(np.sqrt(variance * len(number) / (len(number) - 1)))
    reach = t.ppf((1 + confidence) / 2, len(number) - 1) * error
    low, high = np.clip(value_N.mean() + np.array([-reach, reach]), value_N.min(), value_N.max())
    return Estimate(float(value_N.mean()), error, float(low), float(high), len(number))
