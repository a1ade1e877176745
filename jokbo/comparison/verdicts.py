"""Whether a difference between two accuracies is one: against the noise of seeds and of a finite test set.

A downstream result, in metrics/family/NAME.json, is {"tasks": {TASK: {"accuracies", "mean", "sd"}}, "mean", "sd"}:
accuracies by seed; the last two are of the mean over tasks. `test_rows` counts the texts of each task's test split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SEEN, NOT_SEEN, NOISE, UNMEASURED = "seen", "not seen", "within noise", "not measured"
ERRORS = 2  # standard errors that a difference must exceed
MARGIN = 0.05  # nats by which two losses of one run each must differ: there are no seeds to tell their noise

RULE = (
    f"A difference of downstream means is seen if it exceeds {ERRORS} standard errors, not seen if it is as far "
    "below zero, and within noise between. The squared error is the sum, over both sides, of the squared standard "
    "error over seeds and of the binomial variance of the test texts. Both sides are asked about the same texts, which "
    "this leaves out, so it errs towards noise; with three seeds an error is itself rough, and of forty differences "
    "without a cause about two would lie beyond two errors. "
    f"Pretraining losses are of one run each: they differ if by more than {MARGIN} nats."
)

Result = Mapping[str, Any]
TestRows = Mapping[str, int]


@dataclass(frozen=True)
class Difference:
    value: float
    error: float  # standard error

    @property
    def verdict(self) -> str:
        """Of the claim that the difference is above zero."""
        if abs(self.value) <= ERRORS * self.error:
            return NOISE
        return SEEN if self.value > 0 else NOT_SEEN

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} points, standard error {100 * self.error:.1f}"


def difference(ours: Result, theirs: Result, test_rows: TestRows, share: float = 1.0) -> Difference:
    """Of our downstream mean and `share` of theirs."""
    error = math.hypot(standard_error(ours, test_rows), share * standard_error(theirs, test_rows))
    return Difference(ours["mean"] - share * theirs["mean"], error)


def standard_error(result: Result, test_rows: TestRows) -> float:
    """Of a downstream mean, as another draw of seeds and of test texts would change it."""
    return math.hypot(over_seeds(result), over_texts(result, test_rows))


def over_seeds(result: Result) -> float:
    """Standard error over seeds of the mean over tasks."""
    seeds = len(next(iter(result["tasks"].values()))["accuracies"])
    return result["sd"] / math.sqrt(seeds)


def over_texts(result: Result, test_rows: TestRows) -> float:
    """Binomial standard error of the mean over tasks."""
    means = {task: found["mean"] for task, found in result["tasks"].items()}
    variance = sum(binomial(mean, test_rows[task]) ** 2 for task, mean in means.items())
    return math.sqrt(variance) / len(means)


def binomial(accuracy: float, rows: int) -> float:
    """Standard error of an accuracy over so many texts."""
    return math.sqrt(accuracy * (1 - accuracy) / rows)
