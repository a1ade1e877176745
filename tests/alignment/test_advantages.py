"""Advantages and returns against their definitions, with one lambda and with a lambda each."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jokbo.alignment import advantages

LENGTHS = [1, 3, 5]


def drawn(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, values and mask of three responses of different lengths."""
    rewards_BR, values_BR = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed))
    mask_BR = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
    return rewards_BR * mask_BR, values_BR, mask_BR


def slow(rewards_R: Tensor, values_R: Tensor, discount: float, gae_lambda: float) -> list[float]:
    """The advantages of one response, each as the sum of what is ahead."""
    rewards, values = rewards_R.tolist(), [*values_R.tolist(), 0.0]
    errors = [rewards[t] + discount * values[t + 1] - values[t] for t in range(len(rewards))]
    return [
        sum((discount * gae_lambda) ** k * error for k, error in enumerate(errors[t:]))
        for t in range(len(errors))
    ]


def asked(**changes: object) -> SimpleNamespace:
    values = {"discount": 0.9, "gae_lambda": 0.7, "gae_alpha": None, "value_lambda": None}
    return SimpleNamespace(**{**values, **changes})


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.floats(0.5, 1.0), st.floats(0.0, 1.0))
def test_advantages_are_discounted_sums_of_errors(seed: int, discount: float, gae_lambda: float) -> None:
    """Equation 16 of Schulman et al. 2016 as the double sum it is, over responses of different lengths."""
    rng = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 3, 5, generator=rng)
    lengths = [1, 3, 5]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    found, returns = advantages.advantages_and_returns(
        rewards * mask, values, mask, discount=discount, gae_lambda=gae_lambda
    )
    for b, length in enumerate(lengths):
        following = [*values[b, :length].tolist(), 0.0]
        errors = [rewards[b, t] + discount * following[t + 1] - following[t] for t in range(length)]
        for t in range(length):
            expected = sum((discount * gae_lambda) ** k * errors[t + k] for k in range(length - t))
            assert found[b, t].item() == pytest.approx(expected.item(), abs=1e-4)
            assert returns[b, t].item() == pytest.approx(expected.item() + following[t], abs=1e-4)
        assert not found[b, length:].any()


def test_with_lambda_1_returns_are_what_is_still_to_come() -> None:
    rewards, mask = torch.tensor([[1.0, 2.0, 4.0]]), torch.ones(1, 3, dtype=torch.bool)
    _, returns = advantages.advantages_and_returns(
        rewards, torch.randn(1, 3), mask, discount=1.0, gae_lambda=1.0
    )
    torch.testing.assert_close(returns, torch.tensor([[7.0, 6.0, 4.0]]))


def test_whitened_values_have_mean_0_and_variance_1_over_the_mask() -> None:
    mask = torch.rand(8, 9) < 0.5
    white = advantages.whiten(torch.randn(8, 9) * 3 + 2, mask)
    assert white[mask].mean().item() == pytest.approx(0, abs=1e-5)
    assert white[mask].var(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert not white[~mask].any()


def test_a_score_stands_at_the_last_token_of_its_response() -> None:
    _, _, mask_BR = drawn()
    found_BR = advantages.at_last(torch.tensor([1.0, 2.0, 3.0]), mask_BR)
    assert found_BR.tolist() == [[1, 0, 0, 0, 0], [0, 0, 2, 0, 0], [0, 0, 0, 0, 3]]


@pytest.mark.parametrize(
    ("changes", "warming_up", "of_policy", "of_value"),
    [
        ({}, False, [0.7, 0.7, 0.7], [0.7, 0.7, 0.7]),
        ({"value_lambda": 1.0}, False, [0.7, 0.7, 0.7], [1.0, 1.0, 1.0]),
        ({"value_lambda": 0.2}, True, [0.7, 0.7, 0.7], [1.0, 1.0, 1.0]),
        ({"gae_lambda": None, "gae_alpha": 0.5}, False, [0.0, 1 / 3, 0.6], [0.0, 1 / 3, 0.6]),
        (
            {"gae_lambda": None, "gae_alpha": 0.5, "value_lambda": 1.0},
            False,
            [0.0, 1 / 3, 0.6],
            [1.0, 1.0, 1.0],
        ),
    ],
)
def test_policy_and_value_each_have_their_lambda(
    changes: dict, warming_up: bool, of_policy: list[float], of_value: list[float]
) -> None:
    rewards_BR, values_BR, mask_BR = drawn()
    found_BR, returns_BR = advantages.estimated(
        rewards_BR, values_BR, mask_BR, asked(**changes), warming_up=warming_up
    )
    for b, length in enumerate(LENGTHS):
        own_R, their_R = rewards_BR[b, :length], values_BR[b, :length]
        expected = torch.tensor(slow(own_R, their_R, 0.9, of_policy[b]))
        torch.testing.assert_close(found_BR[b, :length], expected, rtol=1e-4, atol=1e-5)
        expected = torch.tensor(slow(own_R, their_R, 0.9, of_value[b])) + their_R
        torch.testing.assert_close(returns_BR[b, :length], expected, rtol=1e-4, atol=1e-5)


def test_without_a_switch_it_is_the_one_estimate_bit_for_bit() -> None:
    given_ = drawn()
    plain = advantages.advantages_and_returns(*given_, discount=0.9, gae_lambda=0.7)
    assert all(map(torch.equal, advantages.estimated(*given_, asked()), plain))


@given(st.integers(1, 5000), st.floats(0.01, 2.0))
def test_errors_ahead_weigh_alpha_times_the_length_together(length: int, alpha: float) -> None:
    """The sum of the geometric series, 1 / (1 - lambda); one, the error itself, where that would be less."""
    (found,) = advantages.by_length(torch.tensor([length]), alpha).double().tolist()
    assert 0 <= found < 1
    assert 1 / (1 - found) == pytest.approx(max(1.0, alpha * length), rel=2e-2)
