"""Whether a difference between accuracies is one: against the noise of seeds and of a finite test set.

A result is as in search.py: of each task accuracies by seed, and of each test text how many seeds were right about it.
All networks are asked about the same texts, so a difference is taken text by text before its error is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

SEEN, NOT_SEEN, NOISE, UNMEASURED = "seen", "not seen", "within noise", "not measured"
ERRORS = 2  # standard errors that a difference must exceed
LEVEL = 0.05  # of the claims together
MARGIN = 0.05  # nats by which two losses of one run each must differ: there are no seeds to tell their noise

RULE = (
    "What a claim says of two systems is a difference of differences: what pretraining adds to the one, less what it "
    "adds to the other. Its squared error is that of the mean over test texts, of which each is compared with itself, "
    "plus those of the means over seeds. Verdicts on accuracies are corrected for their number (Holm 1979): a claim is "
    f"seen, or not seen where the difference is below zero, at a level of {LEVEL:.0%} for all of them together; the "
    "rest is within noise. A gain of pretraining by itself counts from "
    f"{ERRORS} standard errors. Pretraining losses are of one run each: they differ if by more than {MARGIN} nats."
)

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    value: float
    error: float  # standard error

    @property
    def verdict(self) -> str:
        """Of the claim that the difference is above zero, by itself."""
        if abs(self.value) <= ERRORS * self.error:
            return NOISE
        return SEEN if self.value > 0 else NOT_SEEN

    @property
    def chance(self) -> float:
        """The two-sided chance of a difference at least as far from zero, were there none."""
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * norm.sf(abs(self.value) / self.error))

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} points, standard error {100 * self.error:.1f}"


def contrast(*parts: tuple[float, Result]) -> Difference:
    """Return the sum of downstream means, each times its weight, with its standard error.

    Of each task the weighted sum is taken text by text, and its error over texts; that over seeds is one of each
    result's own, of its mean over tasks.
    """
    value = sum(weight * result["mean"] for weight, result in parts)
    tasks = list(parts[0][1]["tasks"])
    squared = sum((weight * over_seeds(result)) ** 2 for weight, result in parts)
    for task in tasks:
        sums_N = sum(weight * right(result["tasks"][task]) for weight, result in parts)
        assert isinstance(sums_N, np.ndarray)
        squared += sums_N.var(ddof=1) / len(sums_N) / len(tasks) ** 2
    return Difference(value, math.sqrt(squared))


def gain(system: Mapping[str, Result]) -> Difference:
    """Return what pretraining adds to a network: its downstream results by start."""
    return contrast((1, system["pretrained"]), (-1, system["scratch"]))


def gain_over(ours: Mapping[str, Result], theirs: Mapping[str, Result]) -> Difference:
    """Return what pretraining adds to one network less what it adds to another: a difference of differences."""
    return contrast(
        *((1, ours["pretrained"]), (-1, ours["scratch"])),
        *((-1, theirs["pretrained"]), (1, theirs["scratch"])),
    )


def right(outcome: Mapping[str, Any]) -> np.ndarray:
    """Return the share of seeds that were right about each test text, [N]."""
    return np.array([*map(int, outcome["right"])]) / len(outcome["accuracies"])


def standard_error(result: Result) -> float:
    """Return the standard error of a downstream mean over other draws of seeds and of test texts."""
    return contrast((1, result)).error


def over_seeds(result: Result) -> float:
    """Return the standard error over seeds of the mean over tasks."""
    seeds = len(next(iter(result["tasks"].values()))["accuracies"])
    return result["sd"] / math.sqrt(seeds)


def holm(chances: Sequence[float]) -> list[float]:
    """Return chances corrected for their number: the k-th smallest of n times n - k + 1, at least the one before it
    and at most 1 (Holm 1979)."""
    order = sorted(range(len(chances)), key=chances.__getitem__)
    corrected, least = [0.0] * len(chances), 0.0
    for smaller, index in enumerate(order):
        least = max(least, min(1.0, chances[index] * (len(chances) - smaller)))
        corrected[index] = least
    return corrected


def judged(difference: Difference, corrected: float) -> str:
    """Return the verdict on the claim that a difference is above zero, by its corrected chance."""
    if corrected >= LEVEL:
        return NOISE
    return SEEN if difference.value > 0 else NOT_SEEN
