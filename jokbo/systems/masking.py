"""Masked-token prediction: which tokens of a sequence are hidden, by what, and the loss at their positions.

BERT's way (Devlin et al. 2019, section 3.1 and appendix C.2): 15% of the tokens are to be predicted; of these 80% are
replaced by [MASK], 10% by a random token and 10% are left. Other papers change the rate, the shares or the choice.

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, V vocabulary, D numbers of a state,
S slots for spans.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.models.causal import mean_one
from jokbo.systems.common import SpecialTokens, Text, mean_state, sinusoids

AMPLITUDE = 0.1  # of positions at first: far above tokens' 0.02, or attention hardly sees them


class Rng(Protocol):
    """Where random numbers come from: one of numpy's rngs, or an object that gives them as it does."""

    def random(self, size: tuple[int, int], /) -> np.ndarray:
        """Return numbers of [0, 1), uniformly distributed."""
        ...

    def standard_exponential(self, size: tuple[int, int], /) -> np.ndarray:
        """Return exponentially distributed numbers of mean 1."""
        ...

    def integers(self, low: int, high: int, size: tuple[int, int], /) -> np.ndarray:
        """Return integers from low to high - 1, each as likely."""
        ...


class Masked(NamedTuple):
    """Sequences of corrupted tokens, and what is to be predicted at K positions of each; `_asdict()` is a batch."""

    inputs_BT: Tensor  # int64
    positions_BK: Tensor  # int64; in a sequence, those with a weight all differ
    targets_BK: Tensor  # int64: the original tokens
    weights_BK: Tensor  # mean 1 over the global batch; 0 where a sequence has fewer than K tokens to predict


@dataclass(frozen=True)
class Corruption:
    """What becomes of tokens that are to be predicted: the rest of them becomes `mask`."""

    mask: int  # the last of a WordPiece tokenizer's special tokens: ordinary tokens come after it
    vocabulary: int
    kept: float = 0.1  # share of them that stays
    random: float = 0.1  # share that becomes any ordinary token

    @classmethod
    def of(cls, text: Text, kept: float = 0.1, random: float = 0.1) -> Corruption:
        """Return the corruption of a text's tokens."""
        return cls(text.special_tokens.mask, text.vocabulary, kept, random)


def masked(
    tokens_BT: Tensor, eligible_BT: Tensor, rng: Rng, corruption: Corruption, rate: float = 0.15
) -> Masked:
    """Return sequences in which a share `rate` of the eligible tokens, rounded, is to be predicted.

    K is round(rate * T). `eligible_BT` is a mask, each of whose tokens is as likely to be chosen; or numbers that say
    how much likelier some tokens are than others (zero: never).
    """
    weights_BT = eligible_BT.numpy().astype(float)
    with np.errstate(divide="ignore"):
        # the least of exponential times of these rates: a sample without replacement (Efraimidis & Spirakis 2006)
        times_BT = rng.standard_exponential(weights_BT.shape) / weights_BT
    positions_BK = np.argsort(times_BT, axis=1, kind="stable")[:, : round(rate * weights_BT.shape[1])]
    counts_B = np.rint(rate * (weights_BT > 0).sum(axis=1))
    valid_BK = np.arange(positions_BK.shape[1]) < counts_B[:, None]
    return replaced(tokens_BT, positions_BK, valid_BK, rng, corruption)


def replaced(
    tokens_BT: Tensor,
    positions_BK: np.ndarray,
    valid_BK: np.ndarray,
    rng: Rng,
    corruption: Corruption,
    spans_BK: np.ndarray | None = None,
) -> Masked:
    """Return sequences with the tokens at the valid ones of these positions corrupted.

    Positions with the same number in `spans_BK`, which is below K, fare alike: all are masked, all random (each by a
    token of its own) or all kept. Without `spans_BK` each fares alone.
    """
    original_BK = np.take_along_axis(tokens_BT.numpy(), positions_BK, 1)
    fates_BK = rng.random(positions_BK.shape)
    if spans_BK is not None:
        fates_BK = np.take_along_axis(fates_BK, spans_BK, 1)
    mask, kept, random = corruption.mask, corruption.kept, corruption.random
    others_BK = rng.integers(mask + 1, corruption.vocabulary, positions_BK.shape)
    new_BK = np.select([fates_BK < kept, fates_BK < kept + random], [original_BK, others_BK], mask)
    inputs_BT = tokens_BT.numpy().copy()
    inputs_BT[np.nonzero(valid_BK)[0], positions_BK[valid_BK]] = new_BK[valid_BK]
    return Masked(
        torch.from_numpy(inputs_BT),
        torch.from_numpy(positions_BK),
        torch.from_numpy(original_BK),
        mean_one(torch.from_numpy(valid_BK)),
    )


class Spans(NamedTuple):
    """Spans that do not overlap, as the K tokens in them: the position of each, and which span it is in."""

    positions_BK: np.ndarray  # ascending
    spans_BK: np.ndarray  # the number of its span in the sequence, from the left
    firsts_BK: np.ndarray  # position of its span's first token
    lasts_BK: np.ndarray  # position of its span's last token
    valid_BK: np.ndarray  # false for what the sequence has no room for


def spans(rooms_B: np.ndarray, lengths_BK: np.ndarray, rng: np.random.Generator, rate: float = 0.15) -> Spans:
    """Return spans of the given lengths, as many as come to a share `rate` of each sequence's first `rooms_B` tokens.

    The last span is cut to fit. All ways to lay spans out with at least one position between two are equally likely. So
    a span ends where its length says, and the tokens beside it are not hidden.
    """
    batch_size, count = lengths_BK.shape
    budgets_B1 = np.minimum(np.rint(rate * rooms_B).astype(int), count)[:, None]
    # a span and the position after it are one slot: there are room - budget + 1 slots, however many spans there are
    slots_BS = rng.random((batch_size, max(int(rooms_B.max()) + 1, count)))
    slots_BS[np.arange(slots_BS.shape[1]) > rooms_B[:, None] - budgets_B1] = np.inf
    slots_BK = np.argsort(slots_BS, axis=1)[:, :count]
    ends_BK = np.minimum(np.cumsum(lengths_BK, axis=1), budgets_B1)
    lengths_BK = np.diff(ends_BK, axis=1, prepend=0)
    slots_BK[lengths_BK == 0] = slots_BS.shape[1]  # beyond the budget: to the end with them
    order_BK = np.argsort(slots_BK, axis=1, kind="stable")
    slots_BK, lengths_BK = (np.take_along_axis(values, order_BK, 1) for values in (slots_BK, lengths_BK))
    ends_BK = np.cumsum(lengths_BK, axis=1)
    firsts_BK = slots_BK + ends_BK - lengths_BK
    valid_BK = np.arange(count) < budgets_B1
    spans_BK = (np.arange(count)[:, None] >= ends_BK[:, None, :]).sum(axis=2) * valid_BK
    inner_BK = np.arange(count) - np.take_along_axis(ends_BK - lengths_BK, spans_BK, 1)
    firsts_BK, lengths_BK = (np.take_along_axis(values, spans_BK, 1) for values in (firsts_BK, lengths_BK))
    return Spans(
        positions_BK=(firsts_BK + inner_BK) * valid_BK,
        spans_BK=spans_BK * valid_BK,
        firsts_BK=firsts_BK * valid_BK,
        lasts_BK=(firsts_BK + lengths_BK - 1) * valid_BK,
        valid_BK=valid_BK,
    )


def gathered(states_BTD: Tensor, positions_BK: Tensor) -> Tensor:
    """Return the states [B, K, D] at the positions, so that no logits need be computed elsewhere."""
    return states_BTD.gather(1, positions_BK.unsqueeze(-1).expand(-1, -1, states_BTD.shape[-1]))


def masked_loss(
    head: Callable[[Tensor], Tensor],
    states_BTD: Tensor,
    positions_BK: Tensor,
    targets_BK: Tensor,
    weights_BK: Tensor,
) -> Tensor:
    """Return the mean cross-entropy, nats, at the positions; `head` gives the logits of states."""
    return weighted_mean(head(gathered(states_BTD, positions_BK)), targets_BK, weights_BK)


def weighted_mean(logits_BKV: Tensor, targets_BK: Tensor, weights_BK: Tensor) -> Tensor:
    """Return the weighted mean of the cross-entropies, nats; `weights_BK` have mean 1 over the global batch."""
    losses_N = nn.functional.cross_entropy(
        logits_BKV.float().flatten(0, 1), targets_BK.flatten(), reduction="none"
    )
    return (losses_N * weights_BK.flatten()).mean()


def framed(tokens_BT: Tensor, special_tokens: SpecialTokens, context: int) -> Tensor:
    """Return padded text as encoders read it, [B, T + 2]: [CLS] text [SEP], cut so as to fit the context."""
    tokens_BT = tokens_BT[:, : context - 2]
    framed_BT = nn.functional.pad(tokens_BT, (1, 1), value=special_tokens.padding)
    framed_BT[:, 0] = special_tokens.cls
    ends_B1 = (tokens_BT != special_tokens.padding).sum(dim=1, keepdim=True) + 1
    return framed_BT.scatter(1, ends_B1, special_tokens.sep)


def mean_of_text(
    backbone: PreTrainedModel, tokens_BT: Tensor, special_tokens: SpecialTokens, context: int
) -> Tensor:
    """Return the mean [B, D] of the last states of each padded text, special tokens among them.

    The papers classify by the state of [CLS]. The mean is the better vector as long as nothing has taught [CLS] to
    gather a text (Reimers and Gurevych 2019, table 6), least of all where it is only ever context.
    """
    inputs_BT = framed(tokens_BT, special_tokens, context)
    real_BT = inputs_BT != special_tokens.padding
    return mean_state(backbone(inputs_BT, attention_mask=real_BT).last_hidden_state, real_BT)


@torch.no_grad()
def begin_as_sinusoids(positions: nn.Embedding) -> None:
    """Set learned vectors of positions to sinusoids, in which near positions are alike.

    From random ones, which the papers have, a network finds a masked token's neighbours by chance, and that takes
    longer than the comparison trains.
    """
    length, hidden_size = positions.weight.shape
    positions.weight.copy_(AMPLITUDE * sinusoids(length, hidden_size, positions.weight.device))


def full_sentences(text: Text, step: int, batch_size: int, length: int, seed: int) -> Tensor:
    """Return full blocks of running text, int64 [B, length], [SEP] at ends of documents (Liu et al. 2019, 4.2)."""
    tokens_BT = text.blocks(step, batch_size, length, seed)
    return tokens_BT.masked_fill(tokens_BT == text.special_tokens.end_of_text, text.special_tokens.sep)
