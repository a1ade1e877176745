"""The reward model: a scalar head on the supervised policy's trunk, fitted to comparisons.

P(a is preferred to b) = sigmoid(r(a) - r(b)) (Bradley and Terry 1952; Stiennon et al. 2020, section 3.4), and the
loss is -log of it in its stable form, softplus(r(b) - r(a)). Rewards are then normalised to mean 0 and standard
deviation 1 over the supervised policy's samples (Ziegler et al. 2019, section 2.1); the two numbers stand in the
model's config.json as `reward_mean` and `reward_std`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.models import access, heads


def on_policy(policy: PreTrainedModel, *, seed: int) -> PreTrainedModel:
    """A reward model with the policy's trunk and a head drawn from N(0, 1 / (width + 1)) (Stiennon et al. 2020)."""
    model = heads.on_trunk(policy, labels=1, seed=seed)
    score = access.score(model)
    nn.init.normal_(score.weight, std=(score.in_features + 1) ** -0.5)
    return model


class Compare(nn.Module):
    """Bradley-Terry loss, nats a comparison, of preferred against rejected answers."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, preferred_BS: Tensor, rejected_BS: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        both = torch.cat([preferred_BS, rejected_BS])
        rewards = heads.states_and_outputs(self.network, both)[1].squeeze(-1)
        margin_B = rewards[: len(preferred_BS)] - rewards[len(preferred_BS) :]
        return nn.functional.softplus(-margin_B).mean(), {
            "accuracy": (margin_B > 0).float().mean(),
            "margin": margin_B.detach().mean(),
        }


def normalise(model: PreTrainedModel, samples_NS: Tensor) -> None:
    """Makes `rewards` have mean 0 and standard deviation 1 over these samples."""
    raw_N = heads.outputs(model, samples_NS).squeeze(-1).double()
    model.config.reward_mean = raw_N.mean().item()
    model.config.reward_std = raw_N.std().item()


def rewards(model: PreTrainedModel, tokens_NS: Tensor) -> Tensor:
    """Normalised reward, fp32 [N], of each row: prompt, answer, end of text, padding."""
    raw_N = heads.outputs(model, tokens_NS).squeeze(-1)
    return (raw_N - model.config.reward_mean) / model.config.reward_std


def closed(tokens_NS: Tensor, end_of_text: int, padding: int) -> Tensor:
    """Sequences [N, S + 1] as the reward model reads them: an answer that was cut short gets an end of text too."""
    closed_NS = torch.cat([tokens_NS, torch.full((len(tokens_NS), 1), padding)], dim=1)
    last_N = heads.last_tokens(closed_NS, padding)
    rows = torch.arange(len(closed_NS))
    unfinished = closed_NS[rows, last_N] != end_of_text
    closed_NS[rows[unfinished], last_N[unfinished] + 1] = end_of_text
    return closed_NS
