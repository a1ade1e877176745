"""A student of half the layers, from its teacher (Sanh et al. 2019, DistilBERT, sections 2 and 3).

The student starts from every other layer of the teacher (depth.py) and learns by three losses: the teacher's soft
targets at a temperature, the language model's own loss, and the cosine between the two networks' last hidden states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.distillation.targets import divergence
from jokbo.models import access
from jokbo.models.causal import logits_at, some_targets

if TYPE_CHECKING:
    from jokbo.params import DistillationWeights


class Distil(nn.Module):
    """alpha_ce T^2 KL(teacher || student) + alpha_mlm L_lm + alpha_cos (1 - cos), each a weighted mean over targets.

    The square of the temperature keeps the soft targets' gradients as large as they are at T = 1 (Hinton et al.
    2015, section 2). The teacher is not a submodule: the engine neither trains nor saves it.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        temperature: float,
        weights: DistillationWeights,
    ) -> None:
        super().__init__()
        self.network = student
        self._teacher = (teacher.eval().requires_grad_(False),)
        self.temperature = temperature
        self.weights = weights

    def forward(
        self, tokens_BS: Tensor, weights_BT: Tensor, positions_BT: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        chosen_N = some_targets(weights_BT)
        mine_NV, mine_ND = logits_at(self.network, tokens_BS, positions_BT, chosen_N)
        with torch.no_grad():
            teacher = access.moved(self._teacher[0], tokens_BS.device)
            theirs_NV, theirs_ND = logits_at(teacher, tokens_BS, positions_BT, chosen_N)
        soft_N = divergence(mine_NV, theirs_NV, self.temperature)
        nats_N = nn.functional.cross_entropy(mine_NV, tokens_BS[:, 1:].flatten()[chosen_N], reduction="none")
        cosine_N = 1 - nn.functional.cosine_similarity(mine_ND, theirs_ND, dim=-1)
        share_N = weights_BT.flatten()[chosen_N] / weights_BT.numel()
        parts = {
            "soft_targets": self.temperature**2 * (soft_N * share_N).sum(),
            "language_model": (nats_N * share_N).sum(),
            "cosine": (cosine_N * share_N).sum(),
        }
        loss = (
            self.weights.soft_targets * parts["soft_targets"]
            + self.weights.language_model * parts["language_model"]
            + self.weights.cosine * parts["cosine"]
        )
        return loss, {f"{name}_loss": value.detach() for name, value in parts.items()}
