"""The value network of PPO: what reward is still to come, read off the state before each token of a response.

It starts as the reward model (Ouyang et al. 2022, appendix C.4). But that model's head has only ever read whole
responses, in units of its own: as a value it is worse than none. So `fit_head` makes it anew before the policy moves.

Shapes: B responses, S tokens with the prompt, R of a response at most, D numbers of a state, N tokens of all responses.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.alignment.lengths import by_length
from jokbo.distillation.depth import shallower
from jokbo.models import access
from jokbo.sampling import response_states

PENALTIES = np.logspace(0, 9, 19)  # of the weights' squares; the largest leaves a head of zeros
FOLDS = 5


def start_of(reward: PreTrainedModel, layers: int | None) -> PreTrainedModel:
    """Return the value network as it starts: the reward model itself, or some of its layers (a critic that is smaller
    than the policy: AsyPPO, Liu et al. 2025). InputError if it has fewer.
    """
    return reward if layers is None else shallower(reward, layers)


class ValueLoss(nn.Module):
    """Squared error of the value, clipped about the value at sampling time as the policy's ratio is about one.

    A mean over the response tokens of the minibatch, by weights as those of PolicyLoss.
    """

    def __init__(self, network: PreTrainedModel, clip: float, prompt_tokens: int) -> None:
        super().__init__()
        self.network, self.clip, self.prompt_tokens = network, clip, prompt_tokens

    def forward(
        self, tokens_BS: Tensor, weights_BR: Tensor, old_values_BR: Tensor, returns_BR: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        values_BR = by_length(
            lambda rows: response_values(self.network, rows, self.prompt_tokens), tokens_BS, weights_BR
        )
        near_BR = old_values_BR + (values_BR - old_values_BR).clamp(-self.clip, self.clip)
        error_BR = torch.maximum((values_BR - returns_BR) ** 2, (near_BR - returns_BR) ** 2)
        return 0.5 * (error_BR * weights_BR).mean(), {}


def response_values(network: PreTrainedModel, tokens_BS: Tensor, prompt_tokens: int) -> Tensor:
    """Return the value [B, R] of the state before each response token."""
    return access.score(network)(response_states(network, tokens_BS, prompt_tokens)).squeeze(-1).float()


@torch.no_grad()
def fit_head(network: PreTrainedModel, states_BRD: Tensor, returns_BR: Tensor, mask_BR: Tensor) -> None:
    """Make the head the linear map from states to returns that least squares find over the responses' tokens.

    The penalty on its weights is the one that predicts responses best that it was not fitted to. So a head that knows
    nothing of other responses ends as one of zeros, whose explained variance is 0.
    """
    states_ND, returns_N = (values[mask_BR].double().numpy() for values in (states_BRD, returns_BR))
    response_N = torch.arange(len(mask_BR))[:, None].expand_as(mask_BR)[mask_BR].numpy()
    folds = GroupKFold(min(FOLDS, len(mask_BR))).split(states_ND, groups=response_N)
    ridge = RidgeCV(PENALTIES, fit_intercept=False, cv=list(folds)).fit(states_ND, returns_N)
    access.score(network).weight.copy_(torch.from_numpy(ridge.coef_)[None])
