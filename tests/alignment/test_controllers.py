"""The controllers of PPO: the price of KL, and what length earns."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
    assert torch.equal(controllers.centred(scores_B, None), scores_B)
    earned_B = controllers.centred(scores_B, 1.0)
    torch.testing.assert_close(earned_B, -torch.log(1 + torch.exp(1.0 - scores_B)))
    slope_B = torch.func.vmap(torch.func.grad(lambda score: controllers.centred(score, 1.0)))(scores_B)
    torch.testing.assert_close(slope_B, torch.sigmoid(1.0 - scores_B))


def rolled(tokens_BR: list[list[int]], lengths: list[int], **scores: torch.Tensor) -> Experience:
    """Return responses to prompts of one token, of these lengths, of which no network says anything but the scores."""
    tokens = torch.tensor(tokens_BR)
    mask_BR = torch.arange(tokens.shape[1]) < torch.tensor(lengths)[:, None]
    rollout = Rollout(torch.cat((torch.zeros(len(tokens), 1, dtype=torch.long), tokens), 1), mask_BR, 1, 1.0)
    zeros_BR = torch.zeros(mask_BR.shape)
    return Experience(rollout, scores.get("scores_B", zeros_BR[:, 0]), *[zeros_BR] * 4)


def test_a_pair_of_tokens_is_the_newer_the_fewer_of_it_the_rollout_has() -> None:
    """Its pairs: (1, 2), (2, 1), (1, 2); (1, 2), (2, 3); none; (4, 5), and what is beyond the end counts nowhere."""
    seen = rolled([[1, 2, 1, 2], [1, 2, 3, 9], [1, 2, 3, 9], [4, 5, 1, 2]], [4, 3, 1, 2])
    new_B = controllers.novelty(seen.rollout)
    expected = [(1 / 3 + 1 + 1 / 3) / 3, (1 / 3 + 1) / 2, 0.0, 1.0]
    torch.testing.assert_close(new_B, torch.tensor(expected))


@given(st.lists(st.lists(st.integers(1, 4), min_size=6, max_size=6), min_size=1, max_size=8), st.data())
def test_the_mean_novelty_of_all_pairs_is_their_distinct_2(
    tokens: list[list[int]], data: st.DataObject
) -> None:
    lengths = [data.draw(st.integers(1, 6)) for _ in tokens]
    new_B = controllers.novelty(rolled(tokens, lengths).rollout)
    pairs = [pair for row, length in zip(tokens, lengths, strict=True) for pair in pairwise(row[:length])]
    assert (new_B * (torch.tensor(lengths) - 1)).sum().item() == pytest.approx(len(set(pairs)), abs=1e-4)


def test_what_is_new_in_a_response_earns_beside_its_score() -> None:
    seen = rolled([[1, 2], [1, 2], [3, 4]], [2, 2, 2], scores_B=torch.tensor([1.0, 2.0, 3.0]))
    for centre in (None, 1.0):
        earned_B = controllers.earned(seen, earning(centre, novelty=2.0))
        by_score_B = controllers.centred(seen.scores_B, centre)
        torch.testing.assert_close(earned_B, by_score_B + torch.tensor([1.0, 1.0, 2.0]))


def earning(centre: float | None, novelty: float = 0.0) -> Any:
    return SimpleNamespace(reward_centre=centre, novelty=novelty)


def test_what_a_response_earns_comes_with_its_last_token_and_kl_is_paid_in_full() -> None:
    kl_BR = torch.tensor([[0.5, 0.1, 0.0], [0.2, 0.0, 0.3]])
    scores_B = torch.tensor([2.0, -1.0])
    seen = replace(rolled([[1, 1, 1], [1, 1, 1]], [2, 3], scores_B=scores_B), kl_BR=kl_BR)
    steering = controllers.KlController(0.5, 1.0, 0.0), controllers.LengthReward(2.0, 0.0)
    for centre in (None, 1.0):
        rewards_BR, _ = controllers.Controllers(*steering, earning(centre)).rewards(seen)
        earned_B = controllers.centred(scores_B, centre)
        expected = [[-0.25, earned_B[0] - 0.05, 0.0], [-0.1, 0.0, earned_B[1] - 0.15]]
        torch.testing.assert_close(rewards_BR, torch.tensor(expected))
