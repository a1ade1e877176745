"""Scores by hand, and intervals that cover what they should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jokbo.prompting import scores


def test_scores_by_hand() -> None:
    """Of three options the first is the likeliest, the second is so a token, the third against itself alone."""
    found = scores.scored([-2.0, -3.0, -4.0], [1, 3, 2], [4, 10, 3], [-1.0, -2.5, -9.0])
    assert found["sum"].tolist() == [-2, -3, -4]
    assert found["token"].tolist() == [-2, -1, -2]
    assert found["character"] == pytest.approx([-0.5, -0.3, -4 / 3])
    assert found["unconditional"].tolist() == [-1, -0.5, 5]
    assert [scores.likeliest(each) for each in found.values()] == [0, 1, 1, 2]


def test_calibration_by_hand() -> None:
    """Without content the first option has 0.8 and 0.6, so 0.7: what has 0.6 of a question is calibrated to
    (0.6 / 0.7) / (0.6 / 0.7 + 0.4 / 0.3). The likelihoods need not add up to 1."""
    half = math.log(0.5)
    free = [[half + math.log(0.8), half + math.log(0.2)], [math.log(0.6), math.log(0.4)]]
    found = scores.calibrated([half + math.log(0.6), half + math.log(0.4)], free)
    expected = (0.6 / 0.7) / (0.6 / 0.7 + 0.4 / 0.3)
    assert np.exp(found) == pytest.approx([expected, 1 - expected])
    assert scores.likeliest(found) == 1


def test_calibrated_without_content_no_option_is_preferred() -> None:
    free = [[-1.0, -3.0, -2.0]]
    assert np.exp(scores.calibrated(free[0], free)) == pytest.approx([1 / 3] * 3)


def test_an_interval_over_rows_and_seeds() -> None:
    """Its variance is that of the two-way bootstrap in closed form: the seeds' and the rows' shares add up."""
    rng = np.random.default_rng(3)
    rows, seeds = rng.normal(size=400), rng.normal(size=12)
    found = scores.over_rows_and_seeds(seeds[:, None] + rows, samples=4000, seed=1)
    error = math.sqrt(seeds.var() / 12 + rows.var() / 400)
    assert found.value == pytest.approx(seeds.mean() + rows.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_an_interval_of_one_seed_is_of_the_rows() -> None:
    right = [1, 0, 1, 1, 0, 1, 1, 1]
    found = scores.over_rows_and_seeds([right], samples=2000, seed=1)
    assert found.value == np.mean(right)
    assert found.low < found.value < found.high


def test_the_commonest_answer() -> None:
    assert scores.majority([0, 2, 2, 1]) == 0.5
