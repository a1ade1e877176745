"""Corruptions of text that BART, MASS and T5 share: tokens without padding and an rng go in, corrupted tokens come out.

Counts that a paper gives as a share of the tokens are kept exactly in every sequence, not on average. So most results
have one shape and no padding; the others are padded to one shape.

Shapes: B sequences of a batch, T tokens of a sequence, S segments or spans.
"""

from __future__ import annotations

import numpy as np

Rng = np.random.Generator


def some_of(rng: Rng, batch_size: int, length: int, count: int) -> np.ndarray:
    """Return bool [B, length]: `count` positions of each sequence, every choice equally likely."""
    return rng.random((batch_size, length)).argsort(axis=1) < count


def partition(rng: Rng, batch_size: int, total: int, parts: int) -> np.ndarray:
    """Return int64 [B, parts]: lengths of at least 1 with sum `total`, every partition equally likely."""
    cuts = 1 + np.nonzero(some_of(rng, batch_size, total - 1, parts - 1))[1].reshape(batch_size, parts - 1)
    return np.diff(cuts, axis=1, prepend=0, append=total)


def segments(lengths_BS: np.ndarray) -> np.ndarray:
    """Return int64 [B, T]: the number of each position's segment; the lengths of every sequence have the sum T."""
    batch_size, count = lengths_BS.shape
    return np.repeat(np.tile(np.arange(count), batch_size), lengths_BS.ravel()).reshape(batch_size, -1)


def mask(rng: Rng, tokens_BT: np.ndarray, share: float, mask_id: int) -> np.ndarray:
    """Return the tokens with a share of them replaced by the mask (token masking)."""
    batch_size, length = tokens_BT.shape
    return np.where(some_of(rng, batch_size, length, round(share * length)), mask_id, tokens_BT)


def delete(rng: Rng, tokens_BT: np.ndarray, share: float) -> np.ndarray:
    """Return shorter sequences, from which a share of the tokens is taken out (token deletion)."""
    batch_size, length = tokens_BT.shape
    return tokens_BT[~some_of(rng, batch_size, length, round(share * length))].reshape(batch_size, -1)


def rotate(rng: Rng, tokens_BT: np.ndarray) -> np.ndarray:
    """Return sequences that begin with any of their tokens, all equally likely (document rotation).

    After its last token a sequence goes on with its first.
    """
    batch_size, length = tokens_BT.shape
    return np.take_along_axis(
        tokens_BT, (np.arange(length) + rng.integers(length, size=(batch_size, 1))) % length, axis=1
    )


def permute(rng: Rng, tokens_BT: np.ndarray, sentences_BT: np.ndarray) -> np.ndarray:
    """Return the tokens with the sentences of each sequence in random order (sentence permutation).

    A sentence is the positions that have one number in `sentences_BT`; numbers never fall along a sequence.
    """
    keys_BT = np.take_along_axis(rng.random(tokens_BT.shape), sentences_BT, axis=1)
    return np.take_along_axis(tokens_BT, keys_BT.argsort(axis=1, kind="stable"), axis=1)


def poisson_spans(rng: Rng, batch_size: int, total: int, mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lengths of Poisson(mean) spans, [B, total], that sum to `total`, and their numbers [B].

    Lengths may be zero. The last span is cut to fit; lengths after it are zero.
    """
    lengths_BS = rng.poisson(mean, (batch_size, total))
    lengths_BS[:, -1:] = total  # so that each sequence comes to its sum; means above 1 get there long before
    before_BS = lengths_BS.cumsum(axis=1) - lengths_BS
    return np.clip(total - before_BS, 0, lengths_BS), (before_BS < total).sum(axis=1)


def infill(
    rng: Rng, tokens_BT: np.ndarray, share: float, mean: float, mask_id: int, padding: int
) -> np.ndarray:
    """Return the tokens with spans of them, a share of all, each replaced by one mask (text infilling).

    A span has Poisson(mean) tokens. A span of no token inserts a mask. Every arrangement of the spans among the tokens
    left is equally likely. What gets shorter is padded to the length that it had.
    """
    batch_size, length = tokens_BT.shape
    masked = round(share * length)
    lengths_BS, drawn_B = poisson_spans(rng, batch_size, masked, mean)
    items_B = length - masked + drawn_B  # tokens left and masks
    keys_BT = rng.random((batch_size, length))
    keys_BT[np.arange(length) >= items_B[:, None]] = 1
    order_BT = keys_BT.argsort(axis=1).argsort(axis=1)  # of the items: the first of a random order are spans
    is_mask_BT = order_BT < drawn_B[:, None]
    # an item's span goes by the item's rank in the random order, so that the one cut to fit may lie anywhere
    lengths_BT = np.pad(lengths_BS, ((0, 0), (0, length - masked)))
    taken_BT = np.where(is_mask_BT, np.take_along_axis(lengths_BT, order_BT, axis=1), 1)
    starts_BT = np.minimum(taken_BT.cumsum(axis=1) - taken_BT, length - 1)
    filled_BT = np.where(is_mask_BT, mask_id, np.take_along_axis(tokens_BT, starts_BT, axis=1))
    return np.where(np.arange(length) < items_B[:, None], filled_BT, padding)


def alternate(rng: Rng, batch_size: int, length: int, masked: int, spans: int) -> np.ndarray:
    """Return bool [B, length]: `masked` positions in so many spans, each of which follows a span that is left alone.

    So each sequence begins with a span left alone and ends with one masked; both kinds are random partitions.
    """
    left = partition(rng, batch_size, length - masked, spans)
    lengths_BS = np.stack([left, partition(rng, batch_size, masked, spans)], axis=2).reshape(
        batch_size, 2 * spans
    )
    return segments(lengths_BS) % 2 == 1


def to_sentinels(tokens_BT: np.ndarray, masked_BT: np.ndarray, sentinel: int) -> np.ndarray:
    """Return the tokens with each run of masked ones replaced by one token: sentinel, sentinel + 1 ...

    All sequences must have equally many masked tokens, and equally many runs.
    """
    first_BT = masked_BT & ~np.pad(masked_BT, ((0, 0), (1, 0)))[:, :-1]
    numbered_BT = np.where(first_BT, sentinel + first_BT.cumsum(axis=1) - 1, tokens_BT)
    return numbered_BT[first_BT | ~masked_BT].reshape(len(tokens_BT), -1)
