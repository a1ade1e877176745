"""Advantages against their definition, and the rollout they are of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from jokbo.alignment.advantages import advantages_and_returns
from jokbo.control.environments import Environments
from jokbo.control.network import Network
from jokbo.control.rollouts import Rollout, advantages, collect, sampled

STEPS, COPIES = 9, 3


def made_up(ends: float, seed: int = 0) -> tuple[Rollout, np.ndarray, np.ndarray]:
    """A rollout of numbers at random, values before and after each step; a share of the steps ends an episode."""
    rng = np.random.default_rng(seed)
    rewards, values, after = rng.normal(size=(3, STEPS, COPIES)).astype(np.float32)
    ended = rng.random((STEPS, COPIES)) < ends
    terminated = ended & (rng.random((STEPS, COPIES)) < 0.5)
    seen = np.zeros((STEPS, COPIES, 2), np.float32)
    rollout = Rollout(seen, np.zeros((STEPS, COPIES), int), rewards, seen, terminated, ended, [])
    return rollout, values, np.where(terminated, 0, after).astype(np.float32)


@pytest.mark.parametrize(("discount", "gae_lambda"), [(0.9, 0.8), (1.0, 1.0), (0.99, 0.0)])
def test_advantages_are_the_sum_of_errors_ahead(discount: float, gae_lambda: float) -> None:
    rollout, values, after = made_up(0.3)
    found = advantages(rollout, values, after, (discount, gae_lambda))
    for copy in range(COPIES):
        for first in range(STEPS):
            expected, weight = 0.0, 1.0
            for step in range(first, STEPS):
                error = rollout.rewards_TN[step, copy] + discount * after[step, copy] - values[step, copy]
                expected += weight * error
                if rollout.ended_TN[step, copy]:
                    break
                weight *= discount * gae_lambda
            assert found[first, copy] == pytest.approx(expected, abs=1e-5)


def test_with_lambda_one_they_are_discounted_rewards_until_the_end_and_the_value_there() -> None:
    """Where an episode goes on, the value after a step is that before the next one."""
    rollout, values, after = made_up(0.3)
    goes_on = ~rollout.ended_TN[:-1]
    after[:-1][goes_on] = values[1:][goes_on]
    found = advantages(rollout, values, after, (0.9, 1.0))
    for copy in range(COPIES):
        for first in range(STEPS):
            last = next((t for t in range(first, STEPS) if rollout.ended_TN[t, copy]), STEPS - 1)
            rewards = rollout.rewards_TN[first : last + 1, copy]
            earned = sum(0.9**ahead * reward for ahead, reward in enumerate(rewards))
            earned += 0.9 ** len(rewards) * after[last, copy]
            assert found[first, copy] == pytest.approx(earned - values[first, copy], abs=1e-5)


def test_they_are_those_of_the_alignment_where_every_row_is_one_response() -> None:
    rollout, values, after = made_up(0.0)
    after[:-1], after[-1] = values[1:], 0
    rewards_BR, values_BR = (torch.from_numpy(each.T.copy()) for each in (rollout.rewards_TN, values))
    mask_BR = torch.ones_like(rewards_BR, dtype=torch.bool)
    theirs, _ = advantages_and_returns(rewards_BR, values_BR, mask_BR, discount=0.97, gae_lambda=0.95)
    ours = advantages(rollout, values, after, (0.97, 0.95))
    np.testing.assert_allclose(ours, theirs.T.numpy(), atol=1e-5)


def test_actions_are_drawn_as_often_as_they_are_probable() -> None:
    probabilities = np.array([0.1, 0.6, 0.3], np.float32)
    drawn = sampled(np.tile(probabilities, (30_000, 1)), np.random.default_rng(1).random(30_000))
    assert chisquare(np.bincount(drawn, minlength=3), [3000, 18_000, 9000]).pvalue > 0.01
    assert sampled(np.array([[0.5, 0.5]]), np.array([0.999999])).tolist() == [1]


def test_a_rollout_is_what_was_seen_and_an_episode_cut_short_is_not_over() -> None:
    environments = Environments("CartPole-v1", 3, [0, 1])
    network = Network(4, 2, [8], 3)
    rollout = collect(network, environments, 600, 0)
    goes_on = ~rollout.ended_TN[:-1]
    np.testing.assert_array_equal(rollout.after_TNO[:-1][goes_on], rollout.seen_TNO[1:][goes_on])
    assert len(rollout.episodes) == rollout.ended_TN.sum() > 0
    assert sum(earned for _, earned in rollout.episodes) <= rollout.rewards_TN.sum()
    after = rollout.values_after(network)
    assert (after[rollout.terminated_TN] == 0).all()
    assert (after[~rollout.terminated_TN] != 0).all()
