"""What A2C and A3C learn by: the gradient of an actor, told by its critic (Mnih et al. 2016, section 4).

The actor is the policy, the critic the value network of PPO, which begins as there. A token is an action. Nothing is
clipped or whitened, and each response is learned once. The paper's reward for entropy has no place here: what keeps the
policy from settling is the price of KL.

Shapes: B responses, R tokens of a response at most, S with the prompt.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor
from transformers import PreTrainedModel

from jokbo.alignment.advantages import advantages_and_returns
from jokbo.alignment.value import ValueLoss
from jokbo.models.causal import mean_one

if TYPE_CHECKING:
    from jokbo.alignment.rollouts import Experience

Batches = dict[str, dict[str, Tensor]]


def critic_loss(network: PreTrainedModel, prompt_tokens: int) -> ValueLoss:
    """Return the squared error of the value, a mean over tokens."""
    return ValueLoss(network, math.inf, prompt_tokens)


def batches(seen: Experience, rewards_BR: Tensor, discount: float, gae_lambda: float) -> Batches:
    """Return what actor and critic learn of a rollout."""
    tokens_BS, mask_BR = seen.rollout.tokens_BS, seen.rollout.mask_BR
    advantages_BR, returns_BR = advantages_and_returns(
        rewards_BR, seen.values_BR, mask_BR, discount=discount, gae_lambda=gae_lambda
    )
    return {
        "policy": {"tokens_BS": tokens_BS, "mask_BR": mask_BR, "advantages_BR": advantages_BR},
        "value": {
            "tokens_BS": tokens_BS,
            "weights_BR": mean_one(mask_BR),
            "old_values_BR": seen.values_BR,
            "returns_BR": returns_BR,
        },
    }
