"""The controllers of PPO: the price of KL, and what length earns."""

from __future__ import annotations

import pytest
import torch

from jokbo.alignment import controllers
from jokbo.alignment.rollouts import Experience
from jokbo.sampling import Rollout


def test_the_controller_moves_beta_towards_the_target_by_a_fifth_of_its_gain_at_most() -> None:
    controller = controllers.KlController(0.1, target=6.0, gain=0.1)
    controller.update(600.0)
    assert controller.beta == pytest.approx(0.1 * 1.02)
    controller.update(5.4)
    assert controller.beta == pytest.approx(0.1 * 1.02 * 0.99)


def test_the_reward_for_length_takes_out_what_length_is_worth() -> None:
    """Returns that are a line over length, with the mean at the target, come out the same for all lengths."""
    lengths_B = torch.tensor([10, 20, 30])
    reward = controllers.LengthReward(target=20.0, gain=2.0)
    weight = reward.weight(-0.3 * lengths_B, lengths_B)
    left_B = -0.3 * lengths_B + reward.of(lengths_B, weight)
    torch.testing.assert_close(left_B, left_B.mean().expand(3))


def test_the_reward_for_length_draws_the_mean_to_the_target() -> None:
    short_B, long_B = torch.tensor([10, 12, 14]), torch.tensor([26, 28, 30])
    reward, same_B = controllers.LengthReward(target=20.0, gain=2.0), torch.ones(3)
    assert reward.weight(same_B, short_B) == pytest.approx(0.8)
    assert reward.weight(same_B, long_B) == pytest.approx(-0.8)
    assert reward.weight(same_B, torch.tensor([20, 20, 20])) == 0.0
    assert controllers.LengthReward(target=20.0, gain=0.0).weight(same_B * short_B, short_B) == 0.0


def test_a_response_earns_its_score_or_ever_less_of_it_beyond_the_centre() -> None:
    scores_B = torch.tensor([-3.0, 0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    assert torch.equal(controllers.earned(scores_B, None), scores_B)
    earned_B = controllers.earned(scores_B, 1.0)
    torch.testing.assert_close(earned_B, -torch.log(1 + torch.exp(1.0 - scores_B)))
    slope_B = torch.func.vmap(torch.func.grad(lambda score: controllers.earned(score, 1.0)))(scores_B)
    torch.testing.assert_close(slope_B, torch.sigmoid(1.0 - scores_B))


def test_what_a_response_earns_comes_with_its_last_token_and_kl_is_paid_in_full() -> None:
    mask_BR = torch.tensor([[True, True, False], [True, True, True]])
    kl_BR = torch.tensor([[0.5, 0.1, 0.0], [0.2, 0.0, 0.3]])
    scores_B, zeros_BR = torch.tensor([2.0, -1.0]), torch.zeros(2, 3)
    rollout = Rollout(torch.zeros(2, 4, dtype=torch.long), mask_BR, 1, 1.0)
    seen = Experience(rollout, scores_B, zeros_BR, kl_BR, zeros_BR, zeros_BR)
    steering = controllers.KlController(0.5, 1.0, 0.0), controllers.LengthReward(2.0, 0.0)
    for centre in (None, 1.0):
        rewards_BR, _ = controllers.Controllers(*steering, centre).rewards(seen)
        earned_B = controllers.earned(scores_B, centre)
        expected = [[-0.25, earned_B[0] - 0.05, 0.0], [-0.1, 0.0, earned_B[1] - 0.15]]
        torch.testing.assert_close(rewards_BR, torch.tensor(expected))
