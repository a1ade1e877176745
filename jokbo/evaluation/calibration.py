"""Does a stated probability mean what it says?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jokbo.errors import InputError


class Bin(NamedTuple):
    low: float  # confidence, from
    high: float  # to
    count: int
    confidence: float  # mean confidence of those inside
    accuracy: float  # share of them that were right


def reliability(probabilities: Sequence[float], outcomes: Sequence[int], *, bins: int = 10) -> list[Bin]:
    """Reliability table of a yes-or-no forecast (Guo et al. 2017, section 2); bins that hold nothing are left
    out.

    `probabilities[i]` is the forecast of `outcomes[i]` being 1: for two responses, that the second is
    preferred. The forecast's confidence is that of the likelier side, so bins share out 0.5 to 1 equally. A
    forecast of exactly 0.5 chooses 1.
    """
    probability_N, outcome_N = np.asarray(probabilities, dtype=float), np.asarray(outcomes)
    if len(probability_N) != len(outcome_N) or not len(probability_N):
        raise InputError(f"calibration: {len(probability_N)} forecasts of {len(outcome_N)} outcomes")
    confidence_N = np.maximum(probability_N, 1 - probability_N)
    right_N = (probability_N >= 0.5) == (outcome_N == 1)
    edges = np.linspace(0.5, 1, bins + 1)
    bin_N = np.clip(np.searchsorted(edges, confidence_N, side="right") - 1, 0, bins - 1)
    return [
        Bin(
            float(edges[b]),
            float(edges[b + 1]),
            int(inside.sum()),
            float(confidence_N[inside].mean()),
            float(right_N[inside].mean()),
        )
        for b in range(bins)
        if (inside := bin_N == b).any()
    ]


def expected_calibration_error(table: Sequence[Bin]) -> float:
    """Mean distance of confidence from accuracy, bins weighted by count (Guo et al. 2017, equation 3)."""
    total = sum(row.count for row in table)
    return sum(row.count * abs(row.confidence - row.accuracy) for row in table) / total
