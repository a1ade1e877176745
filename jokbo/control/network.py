"""Policy and value of a control task: two small networks that share nothing (Schulman et al. 2017, section 6.1).

Shapes: B observations, O numbers of each, A actions; 2 networks; I numbers that a layer reads, O that it writes.
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
    """A policy and a value, each of tanh layers, computed side by side: layer by layer one product for both.

    The policy begins all but even. The value's last layer is as wide as the policy's; only its first number is read.
    """

    def __init__(self, observations: int, actions: int, hidden_sizes: Sequence[int], seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        sizes = [observations, *hidden_sizes, actions]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for number, (inner, outer) in enumerate(pairwise(sizes)):
            last = number == len(sizes) - 2
            weight_2IO = torch.zeros(2, inner, outer)
            nn.init.orthogonal_(weight_2IO[0], POLICY_GAIN if last else HIDDEN_GAIN, generator=rng)
            of_value = weight_2IO[1, :, :1] if last else weight_2IO[1]
            nn.init.orthogonal_(of_value, VALUE_GAIN if last else HIDDEN_GAIN, generator=rng)
            self.weights.append(nn.Parameter(weight_2IO))
            self.biases.append(nn.Parameter(torch.zeros(2, 1, outer)))

    def forward(self, seen_BO: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-probability of each action [B, A], and the return that is foreseen [B]."""
        state_2BI = seen_BO.expand(2, *seen_BO.shape)
        for number, (weight_2IO, bias_21O) in enumerate(zip(self.weights, self.biases, strict=True)):
            state_2BI = torch.baddbmm(bias_21O, state_2BI.tanh() if number else state_2BI, weight_2IO)
        return torch.log_softmax(state_2BI[0], dim=-1), state_2BI[1, :, 0]


def flattened(network: nn.Module) -> Tensor:
    """Return all weights as one vector, of which the network's own become views: what changes it changes them."""
    weights = parameters_to_vector(network.parameters()).detach().clone()
    vector_to_parameters(weights, network.parameters())
    return weights


def gradient(network: nn.Module, loss: Tensor) -> Tensor:
    """Return the gradient of a loss as one vector, in the order of `flattened`."""
    parts = torch.autograd.grad(loss, [*network.parameters()])
    return torch.cat([part.reshape(-1) for part in parts])
