"""Which samples make up the batch of a step: a function of (seed, step) alone.

There is no iterator and so no state of one to save, and any number of ranks can cut the same global batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from jokbo.data.corpus.token_corpus import TokenCorpus
from jokbo.runtime.errors import InputError

Packing = Literal["joined", "masked", "padded"]


@lru_cache(maxsize=4)
def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch visits n samples: int64 [n], a permutation, read-only.

    Philox is a counter-based generator (Salmon et al. 2011): its key is the whole of its state, so the order
    of an epoch is had without drawing those before it.
    """
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(n)
    order.flags.writeable = False
    return order


def sample_indices(step: int, batch: int, n: int, seed: int, name: str = "the corpus") -> np.ndarray:
    """The samples of a step's global batch: int64 [batch], each in [0, n).

    Samples are numbered on through all steps and epochs; a batch may end one epoch and begin the next.
    Raises InputError, which says `name`, if n samples do not fill one batch.
    """
    if n < batch:
        advice = "give it more text, or set a smaller batch"
        raise InputError(f"{name} makes {n} samples, too few for one batch of {batch}: {advice}")
    epochs, places = np.divmod(np.arange(step * batch, (step + 1) * batch), n)
    indices = np.empty(batch, np.int64)
    for epoch in np.unique(epochs):
        indices[epochs == epoch] = epoch_order(n, seed, int(epoch))[places[epochs == epoch]]
    return indices


def windows_at(
    corpus: TokenCorpus, step: int, *, batch: int, context: int, seed: int, packing: Packing
) -> np.ndarray:
    """Where the sequences of a step's global batch lie in the corpus: int64 [batch, 2], start and end.

    A sequence has at most context + 1 tokens: inputs and, one further on, targets.
    joined, masked: window k starts at token k * context; its last token is the first of the next, so that every token
    but the corpus's first is a target exactly once an epoch (the rest after the last whole window excepted).
    padded: sequence k is document k, from the end-of-text mark before it to its own, cut where it is longer.
    Raises InputError if the corpus has fewer sequences than a batch.
    """
    name = f"{corpus.name} ({corpus.total_tokens} tokens, context {context}, {packing})"
    if packing == "padded":
        indices = sample_indices(step, batch, len(corpus.rows), seed, name)
        starts, ends = corpus.documents[indices] - 1, corpus.documents[indices + 1]
        return np.stack([starts, np.minimum(ends, starts + context + 1)], axis=1)
    starts = context * sample_indices(step, batch, (corpus.total_tokens - 1) // context, seed, name)
    return np.stack([starts, starts + context + 1], axis=1)


def packed_batch(
    corpus: TokenCorpus, step: int, *, batch: int, context: int, seed: int, packing: Packing, padding: int
) -> np.ndarray:
    """The sequences of a step's global batch (windows_at): int64 [batch, context + 1], filled up with padding."""
    tokens = np.full((batch, context + 1), padding)
    windows = windows_at(corpus, step, batch=batch, context=context, seed=seed, packing=packing)
    for row, (start, end) in enumerate(windows.tolist()):
        tokens[row, : end - start] = corpus.window(start, end - start)
    return tokens


def documents_at(
    corpus: TokenCorpus, step: int, *, batch: int, context: int, seed: int, packing: Packing
) -> list[dict[str, Any]]:
    """What a step's global batch is made of: of each sequence its start and end in the corpus, and its documents.

    Of each document of which the sequence has any text (an end-of-text mark alone is none): its row in its split, its
    source, and the start and end in the sequence of the text that it has.
    """
    windows = windows_at(corpus, step, batch=batch, context=context, seed=seed, packing=packing)
    return [
        {"start": start, "end": end, "documents": list(_documents_in(corpus, start, end))}
        for start, end in windows.tolist()
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
    """Of each way to pack: `filled`, the share of an epoch's targets that are no padding, and `kept`, the share of
    the corpus's tokens that are a target."""
    windows, targets = (corpus.total_tokens - 1) // context, corpus.total_tokens - 1
    blocks = {"filled": 1.0, "kept": windows * context / targets}
    kept = int(np.minimum(np.diff(corpus.documents), context).sum())
    rows = {"filled": kept / (len(corpus.rows) * context), "kept": kept / targets}
    return {"joined": blocks, "masked": blocks, "padded": rows}
