"""GPT-1's way to a classifier (Radford et al. 2018, section 3.2).

A text becomes `text, end of text`. The mean of its states goes through one linear layer; the paper takes the state at
the end, which pays less at this size (docs/log.md). The loss is L3 = L2 + lambda L1 (equation 5): the label's, and the
language model's.

Shapes: N texts, B of a batch, S tokens, T targets (S - 1), D numbers of a state, C classes, V of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.data.corpus.batches import dealt_by_length
from jokbo.data.selection import labelled_from
from jokbo.models import access
from jokbo.models.causal import mean_one, some_targets
from jokbo.models.heads import encode, last_tokens, states_and_mean, trimmed

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import PreTrainedTokenizerBase


class Classify(nn.Module):
    """L3 of GPT-1. `weights_BT` weighs the language model's targets, with mean 1 over the global batch."""

    def __init__(self, network: PreTrainedModel, language_model_weight: float) -> None:
        super().__init__()
        self.network = network
        self.language_model_weight = language_model_weight

    def forward(
        self, tokens_BS: Tensor, weights_BT: Tensor, labels_B: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        hidden_BSD, logits_BC = states_and_mean(self.network, tokens_BS)
        label_loss = nn.functional.cross_entropy(logits_BC, labels_B)
        chosen_N = some_targets(weights_BT)
        embeddings_VD = access.embeddings(self.network)  # tied: they are the language model's head too
        logits_NV = nn.functional.linear(hidden_BSD[:, :-1].flatten(0, 1)[chosen_N], embeddings_VD).float()
        nats_N = nn.functional.cross_entropy(
            logits_NV, tokens_BS[:, 1:].flatten()[chosen_N], reduction="none"
        )
        language_loss = (nats_N * weights_BT.flatten()[chosen_N]).sum() / weights_BT.numel()
        accuracy = (logits_BC.argmax(-1) == labels_B).float().mean()
        loss = label_loss + self.language_model_weight * language_loss
        return loss, {
            "label_loss": label_loss.detach(),
            "language_model_loss": language_loss.detach(),
            "accuracy": accuracy,
        }


@dataclass(frozen=True)
class Labelled:
    """Labelled texts by split: as people read them, and as tokens, int64 [N, S], of `heads.encode`."""

    texts: Mapping[str, list[str]]
    labels: Mapping[str, list[int]]
    tokens: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, documents: DatasetDict, source: str, tokenizer: PreTrainedTokenizerBase, context: int
    ) -> Labelled:
        """Return the labelled texts of one source."""
        texts, labels, tokens = {}, {}, {}
        for split in ("train", "validation", "test"):
            texts[split], labels[split] = labelled_from(documents[split], source)
            tokens[split] = encode(tokenizer, texts[split], context)
        return cls(texts, labels, tokens)

    def of_validation(self) -> Labelled:
        """Return the validation texts in the place of those to learn from."""
        return Labelled(
            {"train": self.texts["validation"]},
            {"train": self.labels["validation"]},
            {"train": self.tokens["validation"]},
        )


def batches(
    data: Labelled, tokenizer: PreTrainedTokenizerBase, batch_size: int, seed: int, source: str
) -> Callable[[int], dict[str, Tensor]]:
    """Return the batch of each step, of training texts of like length, as `Classify` takes it."""
    tokens_NS, labels_N = data.tokens["train"], torch.tensor(data.labels["train"])
    end, padding = access.end_of_text(tokenizer), access.padding(tokenizer)
    texts_at = dealt_by_length(last_tokens(tokens_NS, padding, end).numpy(), batch_size, seed, source)

    def batch_at(step: int) -> dict[str, Tensor]:
        return batch(tokens_NS, labels_N, torch.from_numpy(texts_at(step)), padding, end)

    return batch_at


def accuracies(data: Labelled, predicted: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return by split the share of texts whose predicted label is theirs."""
    pairs = {split: list(zip(some, data.labels[split], strict=True)) for split, some in predicted.items()}
    return {split: sum(a == b for a, b in found) / len(found) for split, found in pairs.items()}


def batch(
    tokens_NS: Tensor, labels_N: Tensor, indices_B: Tensor, padding: int, end_of_text: int | None = None
) -> dict[str, Tensor]:
    """Return the texts that the indices name as `Classify` takes them."""
    tokens_BS = trimmed(tokens_NS[indices_B], padding, end_of_text)
    last_B = last_tokens(tokens_BS, padding, end_of_text)
    weights_BT = mean_one(torch.arange(1, tokens_BS.shape[1]) <= last_B[:, None])
    return {"tokens_BS": tokens_BS, "weights_BT": weights_BT, "labels_B": labels_N[indices_B]}
