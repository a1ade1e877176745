"""Networks that end in a linear layer: over the mean of a text's states (classifiers), or over the last one (rewards).

A text is a row of tokens: `text, end of text, padding`. Shapes: N rows, B of a batch, S tokens, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from jokbo.models import access


class Head(nn.Linear):
    """The last layer of a network, by its class: optimizers treat it as they treat embeddings.

    Maps hidden states to classes, tokens or scores.
    """


def on_last(network: PreTrainedModel, *, labels: int, seed: int) -> PreTrainedModel:
    """Return a network with a copy of this one's backbone, and a fresh linear layer over the last token's state."""
    return _on_backbone(AutoModelForSequenceClassification, network, seed, num_labels=labels)


def on_each(network: PreTrainedModel, *, labels: Sequence[str], seed: int) -> PreTrainedModel:
    """Return a network with a copy of this one's backbone, and a fresh linear layer over each token's state.

    The mean of its outputs over a text is what the layer makes of the mean of the text's states. `labels` are the names
    of the outputs, which the configuration keeps as `id2label`.
    """
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    # without a dropout here, which transformers puts before the layer
    return _on_backbone(AutoModelForTokenClassification, network, seed, **names, classifier_dropout=0.0)


def _on_backbone(kind: Any, network: PreTrainedModel, seed: int, **own: Any) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = network.config.__class__.from_dict({**network.config.to_dict(), **own})
    made = kind.from_config(config, dtype=torch.float32)
    made.base_model.load_state_dict(network.base_model.state_dict())
    return made


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], context: int) -> Tensor:
    """Return texts as int64 [N, context]: the first context - 1 tokens, the end of text, padding."""
    rows = torch.full((len(texts), context), access.padding(tokenizer))
    end = access.end_of_text(tokenizer)
    for row, ids in zip(rows, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
        ids = [*ids[: context - 1], end]
        row[: len(ids)] = torch.tensor(ids)
    return rows


def full(tokens_NS: Tensor, end_of_text: int) -> int:
    """Return how many rows of `encode` have no room left: the rest of their texts, if there is any, is not read."""
    return int((tokens_NS[:, -1] == end_of_text).sum())


def last_tokens(tokens_BS: Tensor, padding: int, end_of_text: int | None = None) -> Tensor:
    """Return the position [B] of each row's last token that is not padding.

    A token with padding's number may stand before it: an adopted model's may be that of unknown tokens. Where padding
    is the end of text, it is the position of the first of them.
    """
    real_BS = tokens_BS != padding
    if padding == end_of_text:
        return real_BS.sum(dim=1).clamp(max=tokens_BS.shape[1] - 1)
    return (real_BS * torch.arange(tokens_BS.shape[1], device=tokens_BS.device)).amax(dim=1)


def trimmed(tokens_BS: Tensor, padding: int, end_of_text: int | None = None) -> Tensor:
    """Return the rows without the columns at the end in which every one of them has padding."""
    return tokens_BS[:, : int(last_tokens(tokens_BS, padding, end_of_text).max()) + 1]


def of_last(network: PreTrainedModel, tokens_BS: Tensor) -> Tensor:
    """Return what the linear layer makes of the last state of each row, fp32 [B, labels].

    Padding stands on the right, where no real token sees it, so no attention mask is needed.
    """
    hidden_BSD, last_B = _states(network, tokens_BS)
    last_BD = hidden_BSD[torch.arange(len(last_B), device=last_B.device), last_B]
    return access.score(network)(last_BD).float()


def states_and_mean(network: PreTrainedModel, tokens_BS: Tensor) -> tuple[Tensor, Tensor]:
    """Return hidden states [B, S, D], and their mean over each row [B, D]."""
    hidden_BSD, last_B = _states(network, tokens_BS)
    real_BS = torch.arange(tokens_BS.shape[1], device=last_B.device) <= last_B[:, None]
    return hidden_BSD, (hidden_BSD * real_BS[..., None]).sum(1) / (last_B[:, None] + 1)


def _states(network: PreTrainedModel, tokens_BS: Tensor) -> tuple[Tensor, Tensor]:
    """Return hidden states [B, S, D], and the position [B] of each row's last token."""
    hidden_BSD = network.base_model(input_ids=tokens_BS, use_cache=False).last_hidden_state
    return hidden_BSD, last_tokens(tokens_BS, network.config.pad_token_id, network.config.eos_token_id)


def outputs(network: PreTrainedModel, tokens_NS: Tensor, *, rows: int = 64) -> Tensor:
    """Return what the linear layer says of the last state of each row, fp32 [N, labels]."""
    network.eval()

    def read(tokens_BS: Tensor) -> Tensor:
        return of_last(network, tokens_BS.to(network.device))

    return by_length(read, tokens_NS, network.config.pad_token_id, rows, network.config.eos_token_id)


@torch.no_grad()
def by_length(
    read: Callable[[Tensor], Tensor],
    tokens_NS: Tensor,
    padding: int,
    rows: int,
    end_of_text: int | None = None,
) -> Tensor:
    """Return what `read(tokens_BS)` gives for each row, [N, ...] on the CPU. Rows of like length go together, cut
    to the longest of them."""
    order = torch.argsort(last_tokens(tokens_NS, padding, end_of_text), stable=True)
    parts = [read(trimmed(tokens_NS[some], padding, end_of_text)).cpu() for some in order.split(rows)]
    return torch.cat(parts)[torch.argsort(order)]
