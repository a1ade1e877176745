"""What tokens earn, and how much better that is than was foreseen: the advantages, by which the policy learns.

Shapes: B responses of a rollout, R tokens of a response at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jokbo.params import Ppo


def at_last(scores_B: Tensor, mask_BR: Tensor) -> Tensor:
    """Return rewards [B, R] that are zero but at each response's last token, where its score is."""
    rewards_BR = torch.zeros(mask_BR.shape)
    rewards_BR[torch.arange(len(scores_B)), mask_BR.sum(1) - 1] = scores_B
    return rewards_BR


def estimated(
    rewards_BR: Tensor, values_BR: Tensor, mask_BR: Tensor, settings: Ppo, *, warming_up: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the advantages that the policy learns by, and the returns that the value learns, both [B, R].

    Each may have a lambda of its own (decoupled GAE, Yuan et al. 2025). While the value warms up, what it learns is
    what was earned (lambda 1), as a value that is wrong would be its own target otherwise.
    """
    own = settings.gae_lambda
    if own is None:
        assert settings.gae_alpha is not None  # the schema has one of the two given
        own = by_length(mask_BR.sum(1), settings.gae_alpha)
    advantages_BR, returns_BR = advantages_and_returns(
        rewards_BR, values_BR, mask_BR, discount=settings.discount, gae_lambda=own
    )
    of_value = 1.0 if warming_up else settings.value_lambda
    if of_value is not None:
        returns_BR = advantages_and_returns(
            rewards_BR, values_BR, mask_BR, discount=settings.discount, gae_lambda=of_value
        )[1]
    return advantages_BR, returns_BR


def by_length(lengths_B: Tensor, alpha: float) -> Tensor:
    """Return a lambda [B] for each response: the longer it is, the further ahead its advantages look.

    Length-adaptive GAE (VAPO, Yue et al. 2025): the weights of errors ahead, 1 + lambda + lambda^2 + ...,
    come to alpha times the length. Where that is less than one, lambda is 0.
    """
    return (1 - 1 / (alpha * lengths_B)).clamp(min=0)


def advantages_and_returns(
    rewards_BR: Tensor, values_BR: Tensor, mask_BR: Tensor, *, discount: float, gae_lambda: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Return generalised advantage estimates and the returns they imply, both [B, R].

    Schulman et al. 2016, equation 16. `gae_lambda` is one for all responses, or one for each [B].

    After a response's last token nothing follows: the value there is 0, ended by itself or cut short alike.
    """
    values_BR = values_BR * mask_BR
    advantages_BR = torch.zeros_like(rewards_BR)
    later_B = torch.zeros(len(rewards_BR))
    for t in reversed(range(rewards_BR.shape[1])):
        next_B = values_BR[:, t + 1] if t + 1 < rewards_BR.shape[1] else torch.zeros(len(rewards_BR))
        error_B = rewards_BR[:, t] + discount * next_B - values_BR[:, t]
        later_B = (error_B + discount * gae_lambda * later_B) * mask_BR[:, t]
        advantages_BR[:, t] = later_B
    return advantages_BR, advantages_BR + values_BR


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the values where the mask is true."""
    return (values * mask).sum() / mask.sum()


def variance(values: Tensor, mask: Tensor) -> Tensor:
    """Return the variance of the values where the mask is true."""
    return masked_mean((values - masked_mean(values, mask)) ** 2, mask)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Return the values with mean 0 and variance 1 over the mask, and 0 elsewhere."""
    return (values - masked_mean(values, mask)) * torch.rsqrt(variance(values, mask) + 1e-8) * mask
