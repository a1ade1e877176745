"""Training documents that hold a piece of what is evaluated on: shared n-grams (Brown et al. 2020, appendix C).

Case and punctuation do not count. Brown et al. take 13 words; a text of fewer has no n-gram, so whether it was
seen cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from jokbo.data.prepare import words


def ngrams(texts: Sequence[str], n: int) -> np.ndarray:
    """Hashes of all runs of n words of the texts: sorted, distinct, uint64. Texts of fewer words have none."""
    return words.distinct(words.runs(*words.hashed(texts), n)[0])


def union(parts: Iterable[np.ndarray]) -> np.ndarray:
    """All n-grams of several parts: sorted, distinct, uint64."""
    return words.distinct(np.concatenate((np.zeros(0, np.uint64), *parts)))


def shared(texts: Sequence[str], n: int, known: np.ndarray) -> np.ndarray:
    """Which texts hold at least one of the known n-grams: bool [texts].

    known: as `ngrams` and `union` give it; may be memory-mapped, and is read where it is looked up only.
    """
    grams, counts = words.runs(*words.hashed(texts), n)
    order = np.argsort(grams)  # looked up in order, neighbours fall into the same pages
    grams, owners = grams[order], np.repeat(np.arange(len(texts)), counts)[order]
    places = np.searchsorted(known, grams)
    inside = places < len(known)
    hit = known[places[inside]] == grams[inside]
    found = np.zeros(len(texts), bool)
    found[owners[inside][hit]] = True
    return found
