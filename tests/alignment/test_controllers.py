"""The controllers of PPO: the price of KL, and what length earns."""

from __future__ import annotations

import pytest
import torch

from jokbo.alignment import controllers


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
