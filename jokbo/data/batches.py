"""Which samples make up the batch of a step: a function of (seed, step) alone.

There is no iterator and so no state of one to save, and any number of ranks can cut the same global batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from jokbo.data.packing import TokenCorpus
from jokbo.errors import InputError


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


def packed_batch(corpus: TokenCorpus, step: int, batch: int, context: int, seed: int) -> np.ndarray:
    """The windows of a step's global batch: int64 [batch, context + 1], inputs and, one further on, targets.

    Window k starts at token k * context; its last token is the first of the next, so that every token but the
    corpus's first is a target exactly once an epoch (the rest after the last whole window excepted).
    Raises InputError if the corpus has fewer windows than a batch.
    """
    windows = (corpus.total_tokens - 1) // context
    name = f"{corpus.name} ({corpus.total_tokens} tokens, context {context})"
    indices = sample_indices(step, batch, windows, seed, name)
    return np.stack([corpus.window(int(index) * context, context + 1) for index in indices])
