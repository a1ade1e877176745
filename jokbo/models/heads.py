"""Networks that end in a linear layer over the state at a text's last token: classifiers, reward models, values.

A text is a row of tokens: `text, end of text, padding`. Shapes: N rows, B of a batch, S tokens, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from jokbo.models import access


class Head(nn.Linear):
    """The last layer of a network, by its class: optimizers treat it as they treat embeddings.

    Maps hidden states to classes, tokens or scores.
    """


def on_backbone(network: PreTrainedModel, *, labels: int, seed: int) -> PreTrainedModel:
    """Return a network with a copy of this one's backbone and a fresh linear layer of `labels` outputs."""
    torch.manual_seed(seed)
    config = network.config.__class__.from_dict({**network.config.to_dict(), "num_labels": labels})
    classifier = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    classifier.base_model.load_state_dict(network.base_model.state_dict())
    return classifier


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

    Where padding is the end of text, it is the position of the first of them.
    """
    real_B = (tokens_BS != padding).sum(dim=1)
    return real_B.clamp(max=tokens_BS.shape[1] - 1) if padding == end_of_text else real_B - 1


def trimmed(tokens_BS: Tensor, padding: int, end_of_text: int | None = None) -> Tensor:
    """Return the rows without the columns at the end in which every one of them has padding."""
    return tokens_BS[:, : int(last_tokens(tokens_BS, padding, end_of_text).max()) + 1]


def states_and_outputs(network: PreTrainedModel, tokens_BS: Tensor) -> tuple[Tensor, Tensor]:
    """Return hidden states [B, S, D] and what the linear layer makes of the last one of each row [B, labels].

    Padding stands on the right, where no real token sees it, so no attention mask is needed.
    """
    hidden_BSD = network.base_model(input_ids=tokens_BS, use_cache=False).last_hidden_state
    last_B = last_tokens(tokens_BS, network.config.pad_token_id, network.config.eos_token_id)
    last_BD = hidden_BSD[torch.arange(len(last_B), device=last_B.device), last_B]
    return hidden_BSD, access.score(network)(last_BD).float()


def outputs(network: PreTrainedModel, tokens_NS: Tensor, *, rows: int = 64) -> Tensor:
    """Return what the linear layer says of each row, fp32 [N, labels]."""
    network.eval()

    def read(tokens_BS: Tensor) -> Tensor:
        return states_and_outputs(network, tokens_BS.to(network.device))[1]

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
