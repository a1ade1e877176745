"""Corruptions of text that BART, MASS and T5 share: rows of tokens without padding in, random numbers from outside.

Counts that a paper gives as a share of the tokens are kept exactly in every row, not on average: most results then
have one shape with no padding, and where they have not, they are padded to one.
"""

from __future__ import annotations

import numpy as np

Rng = np.random.Generator


def some_of(rng: Rng, batch_size: int, length: int, count: int) -> np.ndarray:
    """bool [rows, length]: `count` places of each row, every choice equally likely."""
    return rng.random((batch_size, length)).argsort(axis=1) < count


def partition(rng: Rng, batch_size: int, total: int, parts: int) -> np.ndarray:
    """int64 [rows, parts]: lengths of at least 1 with sum `total`, every partition equally likely."""
    cuts = 1 + np.nonzero(some_of(rng, batch_size, total - 1, parts - 1))[1].reshape(batch_size, parts - 1)
    return np.diff(cuts, axis=1, prepend=0, append=total)


def segments(lengths_BS: np.ndarray) -> np.ndarray:
    """int64 [B, T]: for each place the number of its segment, where all rows of lengths have the sum T."""
    batch_size, count = lengths_BS.shape
    return np.repeat(np.tile(np.arange(count), batch_size), lengths_BS.ravel()).reshape(batch_size, -1)


def mask(rng: Rng, tokens_BT: np.ndarray, share: float, mask_id: int) -> np.ndarray:
    """Token masking: a share of the tokens becomes the mask."""
    batch_size, length = tokens_BT.shape
    return np.where(some_of(rng, batch_size, length, round(share * length)), mask_id, tokens_BT)


def delete(rng: Rng, tokens_BT: np.ndarray, share: float) -> np.ndarray:
    """Token deletion: rows shorter by a share of the tokens, nothing left in their places."""
    batch_size, length = tokens_BT.shape
    return tokens_BT[~some_of(rng, batch_size, length, round(share * length))].reshape(batch_size, -1)


def rotate(rng: Rng, tokens_BT: np.ndarray) -> np.ndarray:
    """Document rotation: each row begins with one of its tokens, all equally likely, and goes on round its end."""
    batch_size, length = tokens_BT.shape
    return np.take_along_axis(
        tokens_BT, (np.arange(length) + rng.integers(length, size=(batch_size, 1))) % length, axis=1
    )


def permute(rng: Rng, tokens_BT: np.ndarray, sentences_BT: np.ndarray) -> np.ndarray:
    """Sentence permutation: sentences, places of one number that never falls along the row, in random order."""
    keys_BT = np.take_along_axis(rng.random(tokens_BT.shape), sentences_BT, axis=1)
    return np.take_along_axis(tokens_BT, keys_BT.argsort(axis=1, kind="stable"), axis=1)


def poisson_spans(rng: Rng, batch_size: int, total: int, mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Lengths [rows, total] of spans, zero among them, drawn until `total` tokens are covered (the last is cut to
    fit), and how many were drawn in each row, [rows]; lengths beyond are zero."""
    lengths_BS = rng.poisson(mean, (batch_size, total))
    lengths_BS[:, -1:] = total  # so that each row comes to its sum; means above 1 get there long before
    before_BS = lengths_BS.cumsum(axis=1) - lengths_BS
    return np.clip(total - before_BS, 0, lengths_BS), (before_BS < total).sum(axis=1)


def infill(
    rng: Rng, tokens_BT: np.ndarray, share: float, mean: float, mask_id: int, padding: int
) -> np.ndarray:
    """Text infilling: spans of Poisson(mean) tokens, a share of all, each become one mask; a span of no token inserts
    one. Every arrangement of the spans among the tokens left is equally likely. Padded to the length it had."""
    batch_size, length = tokens_BT.shape
    masked = round(share * length)
    lengths_BS, drawn_B = poisson_spans(rng, batch_size, masked, mean)
    items_B = length - masked + drawn_B  # tokens left and masks
    keys_BT = rng.random((batch_size, length))
    keys_BT[np.arange(length) >= items_B[:, None]] = 1
    order_BT = keys_BT.argsort(axis=1).argsort(axis=1)  # of the items: the first of a random order are spans
    is_mask_BT = order_BT < drawn_B[:, None]
    # the span of an item goes by its place in the random order, so that the one cut to fit may lie anywhere
    lengths_BT = np.pad(lengths_BS, ((0, 0), (0, length - masked)))
    taken_BT = np.where(is_mask_BT, np.take_along_axis(lengths_BT, order_BT, axis=1), 1)
    starts_BT = np.minimum(taken_BT.cumsum(axis=1) - taken_BT, length - 1)
    filled_BT = np.where(is_mask_BT, mask_id, np.take_along_axis(tokens_BT, starts_BT, axis=1))
    return np.where(np.arange(length) < items_B[:, None], filled_BT, padding)


def alternate(rng: Rng, batch_size: int, length: int, masked: int, spans: int) -> np.ndarray:
    """bool [rows, length]: `masked` places in `spans` spans, which alternate with spans left alone and come second,
    so that each row begins with one left alone and ends with one masked; both kinds random partitions."""
    left = partition(rng, batch_size, length - masked, spans)
    lengths_BS = np.stack([left, partition(rng, batch_size, masked, spans)], axis=2).reshape(
        batch_size, 2 * spans
    )
    return segments(lengths_BS) % 2 == 1


def to_sentinels(tokens_BT: np.ndarray, masked_BT: np.ndarray, sentinel: int) -> np.ndarray:
    """Each run of masked tokens becomes one token: sentinel, sentinel + 1 ... All rows have as many of both."""
    first_BT = masked_BT & ~np.pad(masked_BT, ((0, 0), (1, 0)))[:, :-1]
    numbered_BT = np.where(first_BT, sentinel + first_BT.cumsum(axis=1) - 1, tokens_BT)
    return numbered_BT[first_BT | ~masked_BT].reshape(len(tokens_BT), -1)
