"""Rewards of several members against the mean and the deviation written out, on disk and in a rollout of PPO."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from jokbo.alignment import ensembles, reward
from jokbo.alignment.networks import collect
from jokbo.models import access, heads
from tests.alignment import test_ppo
from tests.support.networks import END, PADDING, network, tokens


def members(count: int) -> list[PreTrainedModel]:
    made = [reward.on_policy(network(), seed=seed).eval() for seed in range(count)]
    for number, each in enumerate(made):
        each.config.reward_mean, each.config.reward_std = 0.1 * number, 1.0 + number
    return made


@pytest.mark.parametrize("cost", [0.0, 0.7])
def test_a_single_member_gives_its_own_rewards_to_the_last_bit(cost: float) -> None:
    (alone,) = members(1)
    assert torch.equal(ensembles.rewards([alone], tokens(9), cost), reward.rewards(alone, tokens(9)))


def test_the_reward_is_the_mean_less_what_the_deviation_costs() -> None:
    several, texts = members(3), tokens(9)
    each = np.array([reward.rewards(member, texts).tolist() for member in several])
    found = ensembles.rewards(several, texts, 0.7)
    assert found.tolist() == pytest.approx((each.mean(0) - 0.7 * each.std(0)).tolist(), abs=1e-5)
    assert np.array_equal(ensembles.rewards([several[0]] * 2, texts, 9.0), reward.rewards(several[0], texts))


def test_leads_are_raw_and_a_mean_over_members() -> None:
    several, sides = members(2), (tokens(5, seed=1), tokens(5, seed=2))
    raw = [[heads.outputs(member, side)[:, 0] for side in sides] for member in several]
    expected = sum(preferred - other for preferred, other in raw) / 2
    torch.testing.assert_close(ensembles.leads(several, sides), expected)


@pytest.mark.parametrize("count", [1, 3])
def test_members_are_opened_as_they_were_saved(tmp_path: Path, count: int) -> None:
    several, texts = members(count), tokens(4)
    for number, member in enumerate(several):
        member.save_pretrained(ensembles.folder_of(tmp_path, number))
    opened = ensembles.opened(tmp_path)
    assert len(opened) == count
    for one, other in zip(several, opened, strict=True):
        torch.testing.assert_close(reward.rewards(one, texts), reward.rewards(other, texts))


def test_a_rollout_is_scored_by_all_members() -> None:
    settings = test_ppo.ppo_settings()
    first = test_ppo.networks()
    other = copy.deepcopy(first.reward)
    with torch.no_grad():
        access.score(other).weight.neg_()
    both = replace(first, members=[other], disagreement_cost=0.5)
    prompts = tokens(8, test_ppo.PROMPT)
    seen, alone = (collect(each, prompts, 1, settings) for each in (both, first))
    texts = reward.with_end_of_text(seen.rollout.tokens_BS, END, PADDING)
    assert torch.equal(alone.scores_B, reward.rewards(first.reward, texts))
    # two members of opposite rewards: their mean is 0 and their deviation is the size of either
    torch.testing.assert_close(seen.scores_B, -0.5 * alone.scores_B.abs(), rtol=1e-4, atol=1e-5)
