from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from jokbo.evaluation import intervals
from jokbo.runtime.errors import InputError


def test_interval_is_near_the_normal_one():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    value, low, high = intervals.mean(values, samples=4000, seed=1)
    half = 1.96 * values.std() / np.sqrt(400)
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.02)


def test_resamples_give_the_interval_that_they_give_a_mean():
    """The mean of 40 values, drawn as scipy draws it."""
    values, rng = np.random.default_rng(4).normal(size=40), np.random.default_rng(1)
    drawn = bootstrap(
        (values,), np.mean, n_resamples=500, method="percentile", rng=rng
    ).bootstrap_distribution
    found = intervals.of_resamples(values.mean(), drawn)
    assert found == pytest.approx(intervals.mean(values, samples=500, seed=1), rel=1e-12)
    assert intervals.of_resamples(0.5, range(101), confidence=0.8) == pytest.approx((0.5, 10, 90))


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


def test_of_independent_values_it_is_the_usual_one():
    values = np.random.default_rng(4).normal(3, 2, size=200)
    found = intervals.by_unit(values, [(i,) for i in range(200)])
    error = values.std(ddof=1) / np.sqrt(200)
    assert (found.value, found.standard_error, found.units) == (
        pytest.approx(values.mean()),
        pytest.approx(error, rel=0.01),
        200,
    )
    assert (found.low, found.high) == pytest.approx(
        (found.value - 1.972 * error, found.value + 1.972 * error), rel=1e-3
    )


def test_a_value_told_four_times_is_no_better_known():
    values = np.random.default_rng(5).random(50) < 0.7
    once = intervals.by_unit(values, [(i,) for i in range(50)])
    four = intervals.by_unit(np.tile(values, 4), [(i,) for i in range(50)] * 4)
    assert four == pytest.approx(once)


def test_comparisons_that_share_texts_have_the_error_that_repeats_show():
    """Pairs of 200 texts, each text of its own difficulty, drawn anew again and again: how far their mean strays."""
    rng = np.random.default_rng(6)
    means, errors, covered = [], [], 0
    for _ in range(150):
        text_T = rng.normal(size=200)
        pairs = [tuple(rng.choice(200, size=2, replace=False).tolist()) for _ in range(400)]
        values = [
            text_T[a] + text_T[b] + noise for (a, b), noise in zip(pairs, rng.normal(size=400), strict=True)
        ]
        found = intervals.by_unit(values, pairs)
        means.append(found.value)
        errors.append(found.standard_error)
        covered += found.low <= 0 <= found.high
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)
    assert covered / 150 > 0.88
    assert np.std(values) / np.sqrt(400) < 0.75 * np.mean(errors)  # as if pairs were independent


def test_units_are_needed():
    with pytest.raises(InputError, match="2 values of 2 rows and 1 independent units"):
        intervals.by_unit([1, 0], [("a",), ("a",)])
    with pytest.raises(InputError, match="2 values of 1 rows"):
        intervals.by_unit([1, 0], [("a", "b")])
