from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.alignment.calibration import Bin, error_by_unit, reliability
from jokbo.runtime.errors import InputError


def expected_calibration_error(table: list[Bin]) -> float:
    """Mean distance of confidence from accuracy, bins weighted by count (Guo et al. 2017, equation 3)."""
    return sum(row.count * abs(row.confidence - row.accuracy) for row in table) / sum(
        row.count for row in table
    )


def test_table_by_hand():
    table = reliability([0.9, 0.1, 0.95, 0.6], [1, 1, 1, 0], bins=5)
    assert [(row.count, row.accuracy) for row in table] == [(1, 0.0), (3, pytest.approx(2 / 3))]
    assert table[1].confidence == pytest.approx((0.9 + 0.9 + 0.95) / 3)
    assert expected_calibration_error(table) == pytest.approx(
        0.25 * 0.6 + 0.75 * ((0.9 + 0.9 + 0.95) / 3 - 2 / 3)
    )


def test_honest_forecasts_have_no_error_and_boastful_ones_have():
    rng = np.random.default_rng(0)
    chance = rng.random(40000)
    outcome = (rng.random(40000) < chance).astype(int)
    assert expected_calibration_error(reliability(chance, outcome)) < 0.01
    boast = 1 / (1 + np.exp(-3 * np.log(chance / (1 - chance))))
    assert expected_calibration_error(reliability(boast, outcome)) > 0.1


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_same_whichever_response_is_called_the_second(forecasts):
    forecasts = [(p, y) for p, y in forecasts if p != 0.5] or [(0.7, 1)]
    probabilities, outcomes = np.array(forecasts).T
    table = reliability(probabilities, outcomes)
    assert sum(row.count for row in table) == len(forecasts)
    assert all(row.low - 1e-9 <= row.confidence <= row.high + 1e-9 for row in table)
    mirrored = reliability(1 - probabilities, 1 - outcomes)
    assert sum(row.count * row.accuracy for row in mirrored) == pytest.approx(
        sum(row.count * row.accuracy for row in table)
    )


def test_bad_input():
    with pytest.raises(InputError, match="0 forecasts"):
        reliability([], [])


def test_forecasts_of_one_text_count_once_for_the_error():
    rng = np.random.default_rng(1)
    chance = rng.random(60)
    outcome = (rng.random(60) < chance).astype(int)
    units = [(i,) for i in range(60)]
    once = error_by_unit(chance, outcome, units)
    thrice = error_by_unit(np.tile(chance, 3), np.tile(outcome, 3), units * 3)
    assert once.value == pytest.approx(expected_calibration_error(reliability(chance, outcome)))
    assert thrice == pytest.approx(once)
    rows = zip(
        reliability(chance, outcome),
        reliability(np.tile(chance, 3), np.tile(outcome, 3), units * 3),
        strict=True,
    )
    for one, three in rows:
        assert three.count == 3 * one.count
        assert three.units == one.units
        assert three.standard_error == pytest.approx(one.standard_error)
