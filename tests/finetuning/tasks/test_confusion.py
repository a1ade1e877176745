"""Accuracy and macro F1 of a table of counts, against scikit-learn's, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from jokbo.finetuning.tasks import confusion


def test_measures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    said = np.where(rng.random(300) < 0.6, labels, rng.integers(0, 4, 300))
    counts = confusion.counted(labels.tolist(), said.tolist(), 4)
    assert (counts == confusion_matrix(labels, said)).all()
    assert confusion.accuracy(counts) == pytest.approx(accuracy_score(labels, said))
    assert confusion.macro_f1(counts) == pytest.approx(f1_score(labels, said, average="macro"))
    found = confusion.interval(confusion.accuracy, counts, seed=1)
    error = np.sqrt(found.value * (1 - found.value) / 300)
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.01)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.01)
    assert found == confusion.interval(confusion.accuracy, counts, seed=1)


def test_the_interval_is_the_one_that_earlier_runs_have() -> None:
    found = confusion.interval(confusion.macro_f1, np.array([[40, 9], [13, 61]]), seed=1)
    assert found == pytest.approx((0.8157679738562091, 0.7411229547151877, 0.8820724606052466), rel=1e-12)


def test_a_class_that_nothing_speaks_of_is_left_out_of_the_mean() -> None:
    counts = confusion.counted([0, 0, 1], [0, 1, 1], 3)
    assert np.isnan(confusion.f1(counts)[2])
    assert confusion.macro_f1(counts) == pytest.approx((2 / 3 + 2 / 3) / 2)
