"""What judges say becomes shares and wins against the supervised model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from jokbo import params
from jokbo.evaluation import scoring
from jokbo.evaluation.judges import reward
from jokbo.evaluation.judges.judge import Given, Judged
from jokbo.params import RewardJudge
from tests.evaluation.test_perplexity import responses
from tests.support.networks import network

SETTINGS = params.load(Path(__file__).parents[2] / "params.yaml").evaluate
SCORES = {
    "supervised": np.array([0.2, 0.4, 0.6, 0.5]),
    "aligned": np.array([0.9, 0.4, 0.7, 0.1]),
}
LENGTHS = {"supervised": np.array([10, 10, 10, 10]), "aligned": np.array([10, 13, 30, 14])}


def test_a_probability_above_one_half_is_good_and_a_tie_is_half_a_win():
    found = scoring.judge_result("classifier", Judged("", SCORES, probabilities=True), LENGTHS, SETTINGS)
    supervised, aligned = found.models["supervised"], found.models["aligned"]
    assert (supervised.good, aligned.good) == (0.25, 0.5)
    assert (supervised.win_rate, supervised.length_matched) == (None, None)
    assert (aligned.win_rate, aligned.length_matched) == (0.625, 2)
    assert aligned.length_matched_win_rate == 0.75
    assert aligned.score == pytest.approx(0.525)


def test_rewards_compare_and_call_nothing_good():
    given = Given("rewards", {}, SCORES, set_aside=_nobody_asks, test=_nobody_asks)
    judged = reward.judged(RewardJudge(kind="reward"), given)
    found = scoring.judge_result("reward", judged, LENGTHS, SETTINGS)
    assert found.models["aligned"].good is None
    assert found.models["aligned"].win_rate == 0.625
    assert found.trust == {}
    assert "PPO trains the policy against it" in found.about


def test_what_a_token_costs_less_than_under_the_base_model_is_the_difference_of_the_means() -> None:
    """Its error rests on as many units as there are prompts."""
    networks = {"base": network(seed=1), "supervised": network(seed=2), "aligned": network(seed=1)}
    rollouts = scoring.responses(networks, held_out := responses(), SETTINGS)
    found = scoring.scored(networks, rollouts, held_out, {})
    assert found["base"]["nats_saved"] is None
    saved = found["supervised"]["nats_saved"]
    expected = math.log(found["base"]["perplexity"] / found["supervised"]["perplexity"])
    assert saved["value"] == pytest.approx(expected, rel=1e-6)
    assert (saved["units"], saved["standard_error"] > 0) == (len(held_out), True)
    assert found["aligned"]["nats_saved"]["value"] == found["aligned"]["nats_saved"]["standard_error"] == 0


def _nobody_asks():
    raise AssertionError
