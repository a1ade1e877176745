from __future__ import annotations

import numpy as np
import pytest

from jokbo.errors import InputError
from jokbo.evaluation import intervals


def test_interval_is_near_the_normal_one():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    value, low, high = intervals.mean(values, samples=4000, seed=1)
    half = 1.96 * values.std() / np.sqrt(400)
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.02)


def test_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        _, low, high = intervals.mean(rng.exponential(size=60), samples=300, seed=trial, confidence=0.8)
        covered += low <= 1 <= high
    assert covered / 200 == pytest.approx(0.8, abs=0.08)


def test_win_rate_counts_a_tie_as_half():
    value, low, high = intervals.win_rate([1, 2, 3, 4], [0, 2, 5, 4], samples=200, seed=0)
    assert value == 0.5
    assert low < value < high


def test_win_rate_pairs_prompts():
    """Ours is always a shade better, though prompts differ widely: an unpaired comparison would doubt."""
    theirs = np.random.default_rng(3).normal(0, 10, size=50)
    assert intervals.win_rate(theirs + 0.01, theirs, samples=200, seed=0) == (1.0, 1.0, 1.0)


def test_follows_the_seed():
    values = list(range(20))
    assert intervals.mean(values, samples=100, seed=1) == intervals.mean(values, samples=100, seed=1)
    assert intervals.mean(values, samples=100, seed=1) != intervals.mean(values, samples=100, seed=2)


def test_bad_input():
    with pytest.raises(InputError, match="2 scores against 1"):
        intervals.win_rate([1, 2], [1], samples=10, seed=0)
    with pytest.raises(InputError, match="two values or more, not 1"):
        intervals.mean([1], samples=10, seed=0)
