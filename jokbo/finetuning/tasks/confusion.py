"""How often a classifier is right, by class, with intervals: all of it from one table of counts.

Shapes: N texts, C classes; a table of counts is [C, C], a row a class, a column a predicted one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jokbo.evaluation.intervals import Interval, of_resamples

SAMPLES = 2000  # of the bootstrap
TOGETHER = 100  # samples that are held at once


def counted(labels: Sequence[int], predicted: Sequence[int], classes: int) -> np.ndarray:
    """Return how many texts of each class were taken for each class, int64 [C, C]."""
    counts_CC = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts_CC, (np.asarray(labels), np.asarray(predicted)), 1)
    return counts_CC


def accuracy(counts_CC: np.ndarray) -> np.ndarray:
    """Return the share of texts that are right; of several tables [..., C, C] that of each."""
    return np.trace(counts_CC, axis1=-2, axis2=-1) / counts_CC.sum((-2, -1))


def macro_f1(counts_CC: np.ndarray) -> np.ndarray:
    """Return the mean over classes of F1, the harmonic mean of precision and recall; of several tables that of each.

    A class that no text has and that is never predicted is left out of the mean.
    """
    return np.nanmean(f1(counts_CC), axis=-1)


def f1(counts_CC: np.ndarray) -> np.ndarray:
    """Return F1 of each class, [..., C]; NaN for a class that no text has and that is never predicted."""
    right_C = np.diagonal(counts_CC, axis1=-2, axis2=-1)
    whole_C = counts_CC.sum(-1) + counts_CC.sum(-2)
    return np.divide(2 * right_C, whole_C, out=np.full(right_C.shape, np.nan), where=whole_C > 0)


def interval(
    measure: Callable[[np.ndarray], np.ndarray], counts_CC: np.ndarray, seed: int, confidence: float = 0.95
) -> Interval:
    """Return a measure of a table with the percentile bootstrap's interval over its texts, which are independent."""
    rng, total = np.random.default_rng(seed), counts_CC.sum()
    drawn = [
        measure(rng.multinomial(total, counts_CC.ravel() / total, TOGETHER).reshape(-1, *counts_CC.shape))
        for _ in range(SAMPLES // TOGETHER)
    ]
    return of_resamples(float(measure(counts_CC)), np.concatenate(drawn), confidence=confidence)
