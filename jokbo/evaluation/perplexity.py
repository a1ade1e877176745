"""How well a language model predicts held-out text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.systems.gpt import document_positions, token_losses

if TYPE_CHECKING:
    from jokbo.data.packing import TokenCorpus

ROWS = 32  # sequences a forward pass


@torch.no_grad()
def losses(network: PreTrainedModel, tokens_NS: Tensor, *, end_of_text: int | None = None) -> Tensor:
    """Nats [N, S-1] of each token but the first of each row; with `end_of_text`, given its own document alone."""
    network.eval()
    parts = []
    for rows in tokens_NS.to(network.device).split(ROWS):
        positions = None if end_of_text is None else document_positions(rows[:, :-1], end_of_text)
        parts.append(token_losses(network, rows, positions).cpu())
    return torch.cat(parts)


def corpus_perplexity(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: TokenCorpus,
    context: int,
    *,
    windows: int = 512,
    apart: bool = False,
) -> dict[str, float]:
    """Perplexity and bits per byte over the first `windows` blocks of context + 1 tokens of a corpus.

    apart: each token given its own document alone, for a network that was trained so.
    """
    count = min(windows, (corpus.total_tokens - 1) // context)
    blocks = [torch.from_numpy(corpus.window(i * context, context + 1)) for i in range(count)]
    tokens_NS = torch.stack(blocks)
    nats = losses(network, tokens_NS, end_of_text=tokenizer.eos_token_id if apart else None).double()
    # the bytes that the predicted tokens stand for, end-of-text marks left out
    text = tokenizer.decode(tokens_NS[:, 1:].flatten(), skip_special_tokens=True)
    return {
        "nats_per_token": nats.mean().item(),
        "perplexity": math.exp(nats.mean().item()),
        "bits_per_byte": nats.sum().item() / math.log(2) / len(text.encode()),
    }


def masked_perplexity(network: PreTrainedModel, tokens_NS: Tensor, mask_NT: Tensor) -> float:
    """Perplexity of the targets that the mask names, all of them weighing the same."""
    nats_NT = losses(network, tokens_NS).double()
    return math.exp((nats_NT * mask_NT).sum().item() / mask_NT.sum().item())
