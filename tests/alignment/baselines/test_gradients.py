"""The gradient of each baseline against the exact one, over every response of a language that can be counted."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import pytest
import torch

from jokbo.alignment.advantages import advantages_and_returns, at_last
from jokbo.alignment.baselines import dpo, grpo, reinforce
from jokbo.alignment.baselines.common import PolicyGradient
from jokbo.alignment.ppo import PolicyLoss
from tests.alignment.baselines.small import LENGTH, PROMPT_OF_ALL, All, language, of_token, taken
from tests.alignment.test_ppo import ppo_settings
from tests.support.networks import optimizer

START = len(PROMPT_OF_ALL)


def drawn_groups(found: All, size: int) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    """Every group of so many responses, and how probable it is."""
    groups = list(product(range(len(found.probability_M)), repeat=size))
    return groups, torch.stack([found.probability_M[list(group)].prod() for group in groups])


def test_all_responses_are_counted() -> None:
    policy, found = language()
    assert len(found.tokens_MS) == 13
    assert found.probability_M.sum().item() == pytest.approx(1)
    assert found.gradient(policy).norm() > 0.01


@pytest.mark.parametrize("size", [2, 3])
def test_leave_one_out_is_the_exact_gradient_on_average(size: int) -> None:
    policy, found = language()
    exact = found.gradient(policy)
    groups, shares = drawn_groups(found, size)
    above = torch.stack([reinforce.above_others(found.earned_M[list(group)], size) for group in groups])
    # the loss is linear in advantages: what each response weighs on average over all groups
    weight_M = torch.zeros(len(found.earned_M), dtype=torch.float64)
    weight_M.index_add_(0, torch.tensor(groups).flatten(), (above * shares[:, None]).flatten() / size)
    loss = PolicyGradient(policy, 1.0, START)
    loss(found.tokens_MS, found.mask_MR, (weight_M * len(weight_M))[:, None])[0].backward()
    torch.testing.assert_close(-taken(policy), exact, rtol=1e-3, atol=1e-6)


def test_any_baseline_that_is_not_of_the_response_leaves_the_gradient_exact() -> None:
    policy, found = language()
    exact = found.gradient(policy)
    weight_M = found.probability_M * (found.earned_M - 0.7)
    loss = PolicyGradient(policy, 1.0, START)
    loss(found.tokens_MS, found.mask_MR, (weight_M * len(weight_M))[:, None])[0].backward()
    torch.testing.assert_close(-taken(policy), exact, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("gae_lambda", [1.0, 0.0])
def test_an_actor_is_exact_with_lambda_1_and_whatever_the_critic_says(gae_lambda: float) -> None:
    """With lambda 0 it is only as right as the critic: exact with the true values, and not with others."""
    policy, found = language()
    exact = found.gradient(policy)
    rewards = at_last(found.earned_M.float(), found.mask_MR).double()
    true = torch.zeros(found.mask_MR.shape, dtype=torch.float64)
    for row in range(len(true)):
        for t in range(LENGTH):
            same = (found.tokens_MS[:, : START + t] == found.tokens_MS[row, : START + t]).all(1)
            share = found.probability_M[same] / found.probability_M[same].sum()
            true[row, t] = (share * found.earned_M[same]).sum()

    def gradient(values: torch.Tensor) -> torch.Tensor:
        advantages, _ = advantages_and_returns(
            rewards, values, found.mask_MR, discount=1.0, gae_lambda=gae_lambda
        )
        loss = PolicyGradient(policy, 1.0, START)
        weighed = advantages * found.probability_M[:, None] * len(rewards)
        loss(found.tokens_MS, found.mask_MR, weighed)[0].backward()
        return -taken(policy)

    torch.testing.assert_close(gradient(true), exact, rtol=1e-3, atol=1e-6)
    # a critic that sees the state and not the token, and is wrong
    off = 3 * true.sin() + 1
    if gae_lambda == 1.0:
        torch.testing.assert_close(gradient(off), exact, rtol=1e-3, atol=1e-6)
    else:
        assert not torch.allclose(gradient(off), exact, rtol=1e-2, atol=1e-3)


def test_advantages_of_a_group_and_those_of_the_correction() -> None:
    earned = torch.tensor([1.0, 3.0, 2.0, 2.0])
    corrected = grpo.advantages(earned, 2, corrected=True)
    assert corrected.tolist() == [-1, 1, 0, 0]
    deviation = 2**0.5
    assert grpo.advantages(earned, 2, corrected=False).tolist() == pytest.approx(
        [-1 / deviation, 1 / deviation, 0, 0], abs=1e-3
    )


@pytest.mark.parametrize("corrected", [True, False])
def test_a_response_weighs_by_its_length_only_with_the_correction(corrected: bool) -> None:
    """At a ratio of one, the loss from its definition: sums over tokens, divided by the length or by R alike."""
    policy, found = language()
    advantages_M = found.earned_M
    with torch.no_grad():
        old = torch.stack(
            [
                of_token(policy, found.tokens_MS, found.mask_MR & (torch.arange(LENGTH) == t))
                for t in range(LENGTH)
            ],
            1,
        )
    loss = PolicyLoss(policy, ppo_settings(), START)(
        found.tokens_MS,
        grpo.weights(found.mask_MR, corrected=corrected),
        old,
        advantages_M[:, None].expand_as(old),
    )[0]
    loss.backward()
    mine = taken(policy)
    lengths_M = found.mask_MR.sum(1)
    of_each = -advantages_M * of_token(policy, found.tokens_MS, found.mask_MR)
    (of_each / (LENGTH if corrected else lengths_M)).mean().backward()
    torch.testing.assert_close(mine, taken(policy), rtol=1e-3, atol=1e-6)
    assert lengths_M.unique().tolist() == [1, 2]


def test_the_correction_is_the_exact_gradient_on_average_but_for_a_factor() -> None:
    """Of K responses a K-th of a response's own reward is in its baseline: (K - 1) / K of the gradient, and 1 / R."""
    policy, found = language()
    exact = found.gradient(policy)
    groups, shares = drawn_groups(found, 2)
    above = torch.stack([grpo.advantages(found.earned_M[list(group)], 2, corrected=True) for group in groups])
    weight_M = torch.zeros(len(found.earned_M), dtype=torch.float64)
    weight_M.index_add_(0, torch.tensor(groups).flatten(), (above * shares[:, None]).flatten() / 2)
    with torch.no_grad():
        old = torch.stack(
            [
                of_token(policy, found.tokens_MS, found.mask_MR & (torch.arange(LENGTH) == t))
                for t in range(LENGTH)
            ],
            1,
        )
    weighed = (weight_M * len(weight_M))[:, None].expand_as(old)
    loss = PolicyLoss(policy, ppo_settings(), START)
    loss(found.tokens_MS, grpo.weights(found.mask_MR, corrected=True), old, weighed)[0].backward()
    torch.testing.assert_close(-taken(policy), exact / 2 / LENGTH, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("normalised", [False, True])
def test_the_loss_of_a_pair_from_its_formula(normalised: bool) -> None:
    policy, found = language()
    own = SimpleNamespace(beta=0.3, length_normalised=normalised, optimizer=optimizer())
    one, other = 0, 5  # of one token, and of two
    pair = torch.tensor([[one, other]])
    reference = torch.randn(1, 2, LENGTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    loss, told = dpo.PairLoss(policy, own, 1.0, START)(
        found.tokens_MS[pair], found.mask_MR[pair], reference, torch.tensor([1.0])
    )
    with torch.no_grad():
        now = of_token(policy, found.tokens_MS, found.mask_MR)
    lengths = found.mask_MR.sum(1)
    assert (lengths[one].item(), lengths[other].item()) == (1, 2)
    ratio = [
        (now[row] - (reference[0, side] * found.mask_MR[row]).sum()) / (lengths[row] if normalised else 1)
        for side, row in enumerate((one, other))
    ]
    margin = 0.3 * (ratio[0] - ratio[1]).item()
    assert told["margin"].item() == pytest.approx(margin)
    assert loss.item() == pytest.approx(-torch.tensor(margin).sigmoid().log().item(), rel=1e-5)
