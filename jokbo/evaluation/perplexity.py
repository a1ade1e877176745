"""How well a language model predicts held-out text.

Shapes: N sequences, S tokens of a sequence, T targets (S - 1).
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.evaluation.results import CorpusPerplexity, Perplexity
from jokbo.models import access
from jokbo.models.causal import document_positions, padded_positions, token_losses
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.data.corpus.batches import TokenCorpus
    from jokbo.data.prompts import Prompts

ROWS = 32  # sequences a forward pass


@torch.no_grad()
def losses(network: PreTrainedModel, tokens_NS: Tensor, *, end_of_text: int | None = None) -> Tensor:
    """Return the nats [N, T] of each token but the first of each sequence.

    With `end_of_text`, each is given its own document alone.
    """
    network.eval()
    parts = []
    for rows in tokens_NS.to(network.device).split(ROWS):
        if end_of_text is None:
            positions = padded_positions(rows[:, :-1], network.config.pad_token_id)
        else:
            positions = document_positions(rows[:, :-1], end_of_text)
        parts.append(token_losses(network, rows, positions).cpu())
    return torch.cat(parts)


def check_length(corpus: TokenCorpus, context: int) -> None:
    """Raise InputError if the corpus has no block of context + 1 tokens, so that nothing can be measured on it."""
    if corpus.total_tokens <= context:
        raise InputError(
            f"the held-out text has {corpus.total_tokens:,} tokens, and one block takes pretrain.start.context + 1, "
            f"{context + 1:,}: give it more text or a shorter context"
        )


def corpus_perplexity(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: TokenCorpus,
    context: int,
    *,
    windows: int = 512,
    masked: bool = False,
) -> CorpusPerplexity:
    """Return how well the first `windows` blocks of context + 1 tokens of a corpus are predicted.

    Ends of text stand apart: they come the oftener the shorter texts are. masked: each token is given its own document
    alone, for a network that was trained so.
    """
    count = min(windows, (corpus.total_tokens - 1) // context)
    blocks = [torch.from_numpy(corpus.window(i * context, context + 1)) for i in range(count)]
    tokens_NS = torch.stack(blocks)
    end = access.end_of_text(tokenizer)
    nats_NT = losses(network, tokens_NS, end_of_text=end if masked else None).double()
    ends_NT = tokens_NS[:, 1:] == end
    # the bytes that the predicted tokens stand for
    text = tokenizer.decode(tokens_NS[:, 1:].flatten(), skip_special_tokens=True)
    assert isinstance(text, str)  # of one row of tokens, not of several
    return CorpusPerplexity(
        **asdict(_language_and_end(nats_NT, ~ends_NT, ends_NT)),
        nats_per_token=nats_NT[~ends_NT].mean().item(),
        bits_per_byte=nats_NT[~ends_NT].sum().item() / math.log(2) / len(text.encode()),
    )


def response_perplexity(network: PreTrainedModel, responses: Prompts) -> Perplexity:
    """Return how well people's responses are predicted, all tokens weighing the same.

    Ends of text stand apart, since a network that never learned to end a response would look worse at words: the end
    is one target of some twenty, and may cost it more than all others together.
    """
    return perplexity_of(response_nats(network, responses), responses)


def response_nats(network: PreTrainedModel, responses: Prompts) -> Tensor:
    """Return the nats [N, T] of each token but the first of prompts and people's responses."""
    return losses(network, responses.tokens_NS).double()


def perplexity_of(nats_NT: Tensor, responses: Prompts) -> Perplexity:
    """Return what `response_perplexity` does, from the nats that `response_nats` gave."""
    return _language_and_end(nats_NT, words(responses), responses.ends_NT)


def words(responses: Prompts) -> Tensor:
    """Return which targets [N, T] are tokens of people's responses, ends of text excepted."""
    return responses.mask_NT & ~responses.ends_NT


def _language_and_end(nats_NT: Tensor, words_NT: Tensor, ends_NT: Tensor) -> Perplexity:
    return Perplexity(
        perplexity=math.exp(nats_NT[words_NT].mean().item()),
        end_nats=nats_NT[ends_NT].mean().item() if ends_NT.any() else None,
    )
