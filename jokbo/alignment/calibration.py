"""Does a stated probability mean what it says?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from jokbo.evaluation import intervals
from jokbo.runtime.errors import InputError


class Bin(NamedTuple):
    low: float  # confidence, from
    high: float  # to
    count: int
    confidence: float  # mean confidence of those inside
    accuracy: float  # share of them that were right
    standard_error: float | None  # of the accuracy, by unit; null where they are all of one
    units: int  # that they are of


def reliability(
    probabilities: Sequence[float],
    outcomes: Sequence[int],
    units: Sequence[Sequence[Hashable]] | None = None,
    *,
    bins: int = 10,
) -> list[Bin]:
    """Return the reliability table of a yes-or-no forecast (Guo et al. 2017, section 2), without empty bins.

    `probabilities[i]` is the forecast of `outcomes[i]` being 1: for two responses, that the second is
    preferred. The forecast's confidence is that of the likelier side, so bins share out 0.5 to 1 equally. A
    forecast of exactly 0.5 chooses 1. `units[i]` are what forecast i is of (intervals.by_unit); without them each
    forecast stands for itself.
    """
    units = units if units is not None else [(i,) for i in range(len(probabilities))]
    confidence_N, right_N, bin_N = _binned(probabilities, outcomes, bins)
    edges = np.linspace(0.5, 1, bins + 1)
    table = []
    for b in np.unique(bin_N):
        inside = np.flatnonzero(bin_N == b)
        own = [units[i] for i in inside.tolist()]
        distinct = len({unit for each in own for unit in each})
        error = intervals.by_unit(right_N[inside], own).standard_error if distinct > 1 else None
        table.append(
            Bin(
                float(edges[b]),
                float(edges[b + 1]),
                len(inside),
                float(confidence_N[inside].mean()),
                float(right_N[inside].mean()),
                error,
                distinct,
            )
        )
    return table


def error_by_unit(
    probabilities: Sequence[float],
    outcomes: Sequence[int],
    units: Sequence[Sequence[Hashable]],
    *,
    bins: int = 10,
) -> intervals.Estimate:
    """Return the expected calibration error (Guo et al. 2017, equation 3) with its interval by unit, each bin's too
    much or too little taken as known.

    Chance alone makes the error of a calibrated forecast larger than 0, the more so the fewer forecasts there are.
    """
    confidence_N, right_N, bin_N = _binned(probabilities, outcomes, bins)
    gap_N = confidence_N - right_N
    side_B = np.sign(np.bincount(bin_N, weights=gap_N, minlength=bins))
    found = intervals.by_unit(side_B[bin_N] * gap_N, units)
    return found._replace(low=max(found.low, 0.0))


def _binned(
    probabilities: Sequence[float], outcomes: Sequence[int], bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each forecast's confidence, whether it was right, and the number of its bin."""
    probability_N, outcome_N = np.asarray(probabilities, dtype=float), np.asarray(outcomes)
    if len(probability_N) != len(outcome_N) or not len(probability_N):
        raise InputError(f"calibration: {len(probability_N)} forecasts of {len(outcome_N)} outcomes")
    confidence_N = np.maximum(probability_N, 1 - probability_N)
    edges = np.linspace(0.5, 1, bins + 1)
    bin_N = np.clip(np.searchsorted(edges, confidence_N, side="right") - 1, 0, bins - 1)
    return confidence_N, (probability_N >= 0.5) == (outcome_N == 1), bin_N
