"""The value's head is fitted to what responses earn, and to nothing where there is nothing to find."""

from __future__ import annotations

import torch

from jokbo.alignment import reward as rewards_
from jokbo.alignment.value import fit_head, response_values, start_of
from jokbo.sampling import response_states
from tests.support.networks import network, tokens

PROMPT, ANSWER, ROWS = 4, 8, 48


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens, and which of their last ones are a response's: responses of different lengths."""
    lengths_B = torch.randint(1, ANSWER + 1, (ROWS,), generator=torch.Generator().manual_seed(seed))
    return tokens(ROWS, PROMPT + ANSWER, seed=seed), torch.arange(ANSWER) < lengths_B[:, None]


def explained(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    return 1 - ((returns - values)[mask].var() / returns[mask].var()).item()


@torch.no_grad()
def test_it_finds_a_linear_map_of_the_states_and_foretells_other_responses() -> None:
    value = rewards_.on_policy(network(), seed=0).eval()
    wanted = torch.randn(16, generator=torch.Generator().manual_seed(3))
    (fitted, mask), (other, their_mask) = drawn(1), drawn(2)
    states = response_states(value, fitted, PROMPT)
    fit_head(value, states, states @ wanted + torch.randn(mask.shape) * 0.1, mask)
    returns = response_states(value, other, PROMPT) @ wanted
    assert explained(response_values(value, other, PROMPT), returns, their_mask) > 0.95


@torch.no_grad()
def test_of_returns_that_nobody_can_foretell_it_claims_next_to_nothing() -> None:
    value = rewards_.on_policy(network(), seed=0).eval()
    (fitted, mask), (other, their_mask) = drawn(1), drawn(2)
    by_response = torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(4)).expand(mask.shape)
    fit_head(value, response_states(value, fitted, PROMPT), by_response, mask)
    returns = torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(5)).expand(mask.shape)
    assert explained(response_values(value, other, PROMPT), returns, their_mask) > -0.1


def test_a_value_of_fewer_layers_has_those_of_the_reward_model() -> None:
    reward = rewards_.on_policy(network(layers=2), seed=0)
    assert start_of(reward, None) is reward
    half = start_of(reward, 1).state_dict()
    assert all(torch.equal(value, reward.state_dict()[name]) for name, value in half.items())
    assert len(half) < len(reward.state_dict())
