"""Figures with their intervals, and when two of them differ: held against scipy's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind

from jokbo.team.comparing.estimates import Figure, bounded, figures_of_seeds, over_seeds, reach_of_difference

SEEDS = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9).filter(
    lambda values: max(values) - min(values) > 1e-3
)


@given(SEEDS)
def test_the_interval_over_seeds_is_students(values: list[float]) -> None:
    low, high = ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = over_seeds(values)
    assert found.reach is not None
    assert (found.value - found.reach, found.value + found.reach) == pytest.approx((low, high), abs=1e-6)
    again = bounded(found.value, low, high, len(values))  # as a registered model's tags have it
    assert (again.error, again.freedom) == (pytest.approx(found.error, rel=1e-6), found.freedom)


@given(SEEDS, SEEDS)
def test_the_interval_of_a_difference_is_welchs(one: list[float], other: list[float]) -> None:
    low, high = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert reach_of_difference(over_seeds(one), over_seeds(other)) == pytest.approx((high - low) / 2)


def test_of_many_units_it_is_the_root_of_the_sum_of_squares() -> None:
    one, other = bounded(0.5, 0.4, 0.6), bounded(0.7, 0.65, 0.75)
    assert reach_of_difference(one, other) == pytest.approx(math.hypot(0.1, 0.05))


def test_a_single_seed_tells_nothing_of_others() -> None:
    assert (over_seeds([3.0]).reach, str(over_seeds([3.0]))) == (None, "3")
    for single in (over_seeds([3.0]), bounded(3.0, 2.9, 3.1)):
        assert reach_of_difference(over_seeds([1.0, 1.1, 1.2]), single) is None


def test_what_every_seed_has_the_same_has_no_spread() -> None:
    same = over_seeds([2.0, 2.0])
    assert reach_of_difference(same, over_seeds([3.0, 3.0])) == 0
    assert reach_of_difference(same, over_seeds([3.0, 3.1])) == over_seeds([3.0, 3.1]).reach


def test_over_seeds_an_interval_over_prompts_does_not_count() -> None:
    runs = [{"good": value, "good_low": 0.1, "good_high": 0.9, "kl": value} for value in (0.5, 0.6)]
    assert figures_of_seeds(runs) == {name: over_seeds([0.5, 0.6]) for name in ("good", "kl")}
    assert figures_of_seeds(runs[:1]) == {"good": bounded(0.5, 0.1, 0.9), "kl": Figure(0.5)}
