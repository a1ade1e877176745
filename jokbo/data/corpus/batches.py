"""A corpus of tokens, and which samples of it make up the batch of a step: a function of (seed, step) alone.

jokbo.data.corpus.packing writes the corpus. There is no iterator, so it has no state to save, and any number of ranks
can divide the same global batch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_json

Packing = Literal["joined", "masked", "padded"]
GROUPED = 8  # batches that are dealt out by length at once


@dataclass(frozen=True)
class TokenCorpus:
    """Shards as one array of `total_tokens` tokens.

    Document i is the tokens [documents[i], documents[i + 1]), its end of text among them. It is row rows[i] of its
    split, read as part of the source names[sources[i]].
    """

    name: str
    shards: tuple[np.ndarray, ...]
    starts: list[int]  # position of each shard's first token
    documents: np.ndarray  # int64, one more than there are documents
    rows: np.ndarray  # int64
    sources: np.ndarray  # uint16
    names: list[str]
    total_tokens: int

    @classmethod
    def open(cls, path: Path) -> TokenCorpus:
        """Return the corpus that `lay_out` wrote; tokens are read when they are used.

        Raises InputError if there is no shard.
        """
        files = sorted(path.glob("shard-*.npy"))
        if not files:
            raise InputError(f"{path} holds no token shards: run the stage tokenize")

        def mapped(file: Path) -> np.ndarray:
            # a plain array over the map: a slice of np.memmap takes longer than the copy of a window's tokens
            return np.load(file, mmap_mode="r").view(np.ndarray)

        shards = tuple(mapped(file) for file in files)
        *starts, total = accumulate(map(len, shards), initial=0)
        documents, rows, sources = (mapped(path / f"{name}.npy") for name in ("documents", "rows", "sources"))
        names = read_json(path / "sources.json")
        return cls(str(path), shards, starts, documents, rows, sources, names, total)

    def window(self, start: int, length: int) -> np.ndarray:
        """Return the tokens [start, start + length), across shards: int64 [length]. Raises IndexError outside them."""
        if not 0 <= start <= start + length <= self.total_tokens:
            raise IndexError(f"[{start}, {start + length}) is outside a corpus of {self.total_tokens} tokens")
        tokens, filled = np.empty(length, np.int64), 0
        shard = bisect_right(self.starts, start) - 1
        while filled < length:
            offset = start + filled - self.starts[shard]
            piece = self.shards[shard][offset : offset + length - filled]
            tokens[filled : filled + len(piece)] = piece
            filled, shard = filled + len(piece), shard + 1
        return tokens


@dataclass(frozen=True)
class Layout:
    """How a corpus becomes batches."""

    batch: int  # sequences of a step, over all ranks
    context: int  # most inputs of a sequence, in tokens
    seed: int  # of the order of sequences
    packing: Packing


@lru_cache(maxsize=4)
def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order in which an epoch visits n samples: int64 [n], a permutation, read-only.

    The state of Philox, which is counter-based (Salmon et al. 2011), is its key and nothing else. So the order of an
    epoch does not need the orders before it.
    """
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(n)
    order.flags.writeable = False
    return order


def sample_indices(step: int, batch: int, n: int, seed: int, name: str = "the corpus") -> np.ndarray:
    """Return the samples of a step's global batch: int64 [batch], each in [0, n).

    Steps take samples one after the other through all epochs: a batch may end one epoch and begin the next.
    Raises InputError, which says `name`, if n samples do not fill one batch.
    """
    if n < batch:
        advice = "give it more text, or set a smaller batch"
        raise InputError(f"{name} makes {n} samples, too few for one batch of {batch}: {advice}")
    epochs, positions = np.divmod(np.arange(step * batch, (step + 1) * batch), n)
    indices = np.empty(batch, np.int64)
    for epoch in np.unique(epochs):
        indices[epochs == epoch] = epoch_order(n, seed, int(epoch))[positions[epochs == epoch]]
    return indices


def dealt_by_length(lengths_N: np.ndarray, batch: int, seed: int, name: str) -> Callable[[int], np.ndarray]:
    """Return what gives the samples of each step, as `sample_indices` does, with less padding among them.

    The samples of GROUPED steps are dealt out to those steps by their length, in an order of chance.
    """

    @lru_cache(maxsize=1)
    def group(number: int) -> np.ndarray:
        steps = range(number * GROUPED, (number + 1) * GROUPED)
        chosen = np.concatenate([sample_indices(step, batch, len(lengths_N), seed, name) for step in steps])
        by_length = chosen[np.argsort(lengths_N[chosen], kind="stable")].reshape(GROUPED, batch)
        return by_length[epoch_order(GROUPED, seed, number)]

    return lambda step: group(step // GROUPED)[step % GROUPED]


def windows_at(corpus: TokenCorpus, step: int, layout: Layout) -> np.ndarray:
    """Return where the sequences of a step's global batch lie in the corpus: int64 [batch, 2], start and end.

    A sequence has at most context + 1 tokens: inputs and, one further on, targets.
    joined, masked: window k starts at token k * context. Its last token is the first of the next window, so each token
    but the corpus's first is a target once an epoch; tokens after the last whole window are not.
    padded: sequence k is document k, from the end of text before it to its own, truncated if it is longer.
    Raises InputError if the corpus has fewer sequences than a batch.
    """
    batch, context, seed, packing = layout.batch, layout.context, layout.seed, layout.packing
    name = f"{corpus.name} ({corpus.total_tokens} tokens, context {context}, {packing})"
    if packing == "padded":
        indices = sample_indices(step, batch, len(corpus.rows), seed, name)
        starts, ends = corpus.documents[indices] - 1, corpus.documents[indices + 1]
        return np.stack([starts, np.minimum(ends, starts + context + 1)], axis=1)
    starts = context * sample_indices(step, batch, (corpus.total_tokens - 1) // context, seed, name)
    return np.stack([starts, starts + context + 1], axis=1)


def packed_batch(corpus: TokenCorpus, step: int, layout: Layout, padding: int) -> np.ndarray:
    """Return the sequences of a step's global batch (windows_at), padded at the end: int64 [batch, context + 1]."""
    tokens = np.full((layout.batch, layout.context + 1), padding)
    for row, (start, end) in enumerate(windows_at(corpus, step, layout).tolist()):
        tokens[row, : end - start] = corpus.window(start, end - start)
    return tokens


def documents_at(corpus: TokenCorpus, step: int, layout: Layout) -> list[dict[str, Any]]:
    """Return what a step's global batch is made of: `start` and `end` of each sequence in the corpus, and `documents`.

    A document is among them if the sequence has some of its text; an end of text alone is none. Of each: its `row` in
    its split, its `source`, and `start` and `end` of its text in the sequence.
    """
    return [
        {"start": start, "end": end, "documents": list(_documents_in(corpus, start, end))}
        for start, end in windows_at(corpus, step, layout).tolist()
    ]


def _documents_in(corpus: TokenCorpus, start: int, end: int) -> Iterator[dict[str, Any]]:
    first = max(0, int(np.searchsorted(corpus.documents, start, side="right")) - 1)
    for index in range(first, int(np.searchsorted(corpus.documents[:-1], end))):
        begin, finish = (
            max(start, int(corpus.documents[index])),
            min(end, int(corpus.documents[index + 1]) - 1),
        )
        if begin < finish:
            source = corpus.names[corpus.sources[index]]
            row = int(corpus.rows[index])
            yield {"row": row, "source": source, "start": begin - start, "end": finish - start}


def efficiency(corpus: TokenCorpus, context: int) -> dict[Packing, dict[str, float]]:
    """Return two shares of each packing.

    `filled`: of an epoch's targets, those that are no padding. `kept`: of the corpus's tokens, those that are a target.
    """
    windows, targets = (corpus.total_tokens - 1) // context, corpus.total_tokens - 1
    blocks = {"filled": 1.0, "kept": windows * context / targets}
    kept = int(np.minimum(np.diff(corpus.documents), context).sum())
    rows = {"filled": kept / (len(corpus.rows) * context), "kept": kept / targets}
    return {"joined": blocks, "masked": blocks, "padded": rows}
