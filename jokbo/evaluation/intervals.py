"""Means and win rates with intervals, by the bootstrap over prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

from jokbo.errors import InputError


class Interval(NamedTuple):
    value: float
    low: float
    high: float


def mean(values: Sequence[float], *, samples: int, seed: int, confidence: float = 0.95) -> Interval:
    """Mean of independent values with the percentile bootstrap's interval (Efron and Tibshirani 1993, 13.3).

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


def win_rate(
    ours: Sequence[float], theirs: Sequence[float], *, samples: int, seed: int, confidence: float = 0.95
) -> Interval:
    """Share of prompts on which `ours[i]` beats `theirs[i]`, a tie counting half, with its interval.

    Both scores of a prompt are resampled together: the bootstrap is a paired one, over prompts.
    """
    if len(ours) != len(theirs):
        raise InputError(f"win rate: {len(ours)} scores against {len(theirs)}; both need the same prompts")
    wins_N = (1 + np.sign(np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float))) / 2
    return mean(wins_N, samples=samples, seed=seed, confidence=confidence)
