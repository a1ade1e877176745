"""GPT-1's way to a classifier (Radford et al. 2018, section 3.2).

A row becomes one or more sequences `text, end of text` (section 3.3; see kind.py). The mean of a sequence's states goes
through one linear layer; the paper takes the state at the end, which pays less at this size (docs/log.md). The loss is
L3 = L2 + lambda L1 (equation 5): the label's, and the language model's.

Shapes: N rows, B of a batch, K sequences of a row, M of all rows (B K), S tokens, T targets (S - 1), D numbers of a
state, C classes, V of the vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.finetuning.tasks.kind import Kind
from jokbo.models import access
from jokbo.models.causal import some_targets
from jokbo.models.heads import by_length, states_and_mean


class Classify(nn.Module):
    """L3 of GPT-1. `weights_BKT` weighs the language model's targets, with mean 1 over the global batch.

    `language_head` maps states to logits of tokens; None: the embeddings do, to which it is tied.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        kind: Kind,
        language_model_weight: float,
        language_head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.language_head = language_head
        self.kind = kind
        self.language_model_weight = language_model_weight

    def forward(
        self, tokens_BKS: Tensor, weights_BKT: Tensor, labels_B: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        tokens_MS, weights_MT = tokens_BKS.flatten(0, 1), weights_BKT.flatten(0, 1)
        hidden_MSD, mean_MD = states_and_mean(self.network, tokens_MS)
        mean_BKD = mean_MD.unflatten(0, tokens_BKS.shape[:2])
        logits_BC = self.kind.logits(access.score(self.network), mean_BKD).float()
        label_loss = nn.functional.cross_entropy(logits_BC, labels_B)
        chosen_N = some_targets(weights_MT)
        states_ND = hidden_MSD[:, :-1].flatten(0, 1)[chosen_N]
        if self.language_head is None:
            logits_NV = nn.functional.linear(states_ND, access.embeddings(self.network)).float()
        else:
            logits_NV = self.language_head(states_ND).float()
        nats_N = nn.functional.cross_entropy(
            logits_NV, tokens_MS[:, 1:].flatten()[chosen_N], reduction="none"
        )
        language_loss = (nats_N * weights_MT.flatten()[chosen_N]).sum() / weights_MT.numel()
        accuracy = (logits_BC.argmax(-1) == labels_B).float().mean()
        loss = label_loss + self.language_model_weight * language_loss
        return loss, {
            "label_loss": label_loss.detach(),
            "language_model_loss": language_loss.detach(),
            "accuracy": accuracy,
        }


@torch.no_grad()
def logits(network: PreTrainedModel, kind: Kind, tokens_NKS: Tensor, *, sequences: int = 64) -> Tensor:
    """Return the logits of each row's classes, fp32 [N, C] on the CPU; so many sequences are read at a time."""
    network.eval()

    def read(tokens_MS: Tensor) -> Tensor:
        return states_and_mean(network, tokens_MS.to(network.device))[1].float()

    ids = network.config.pad_token_id, sequences, network.config.eos_token_id
    mean_MD = by_length(read, tokens_NKS.flatten(0, 1), *ids)
    mean_NKD = mean_MD.unflatten(0, tokens_NKS.shape[:2]).to(network.device)
    return kind.logits(access.score(network), mean_NKD).float().cpu()
