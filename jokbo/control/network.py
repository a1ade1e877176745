"""Policy and value of a control task: two small networks that share nothing (Schulman et al. 2017, section 6.1).

Shapes: B observations, O numbers of each, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

HIDDEN_GAIN, POLICY_GAIN, VALUE_GAIN = (
    2**0.5,
    0.01,
    1.0,
)  # of orthogonal weights, as OpenAI's baselines have them


class Network(nn.Module):
    """A policy and a value of tanh layers. The policy begins all but even."""

    def __init__(self, observations: int, actions: int, hidden_sizes: Sequence[int], seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.policy = _layers([observations, *hidden_sizes, actions], POLICY_GAIN, rng)
        self.value = _layers([observations, *hidden_sizes, 1], VALUE_GAIN, rng)

    def log_probs(self, seen_BO: Tensor) -> Tensor:
        """Return the log-probability of each action, [B, A]."""
        return torch.log_softmax(self.policy(seen_BO), dim=-1)

    def values(self, seen_BO: Tensor) -> Tensor:
        """Return the return that is foreseen, [B]."""
        return self.value(seen_BO).squeeze(-1)


def flattened(network: nn.Module) -> Tensor:
    """Return all weights as one vector, of which the network's own become views: what changes it changes them."""
    weights = parameters_to_vector(network.parameters()).detach().clone()
    vector_to_parameters(weights, network.parameters())
    return weights


def gradient(network: nn.Module, loss: Tensor) -> Tensor:
    """Return the gradient of a loss as one vector, in the order of `flattened`."""
    parts = torch.autograd.grad(loss, [*network.parameters()])
    return torch.cat([part.reshape(-1) for part in parts])


def _layers(sizes: Sequence[int], last_gain: float, rng: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(pairwise(sizes)):
        linear, last = nn.Linear(inner, outer), number == len(sizes) - 2
        nn.init.orthogonal_(linear.weight, last_gain if last else HIDDEN_GAIN, generator=rng)
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, nn.Tanh()]
    return nn.Sequential(*layers)
