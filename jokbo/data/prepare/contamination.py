"""Training documents that share n-grams with what models are evaluated on (Brown et al. 2020, appendix C).

Case and punctuation do not count. Brown et al. take 13 words. A shorter text has no n-gram, so nothing can tell whether
it was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from jokbo.data.prepare import words


def ngrams(texts: Sequence[str], n: int) -> np.ndarray:
    """Return the hashes of all runs of n words of the texts: uint64, sorted, distinct. Shorter texts have none."""
    return words.distinct(words.runs(*words.hashed(texts), n)[0])


def union(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Return all n-grams of several arrays of them: uint64, sorted, distinct."""
    return words.distinct(np.concatenate((np.zeros(0, np.uint64), *arrays)))


def shared(texts: Sequence[str], n: int, known: np.ndarray) -> np.ndarray:
    """Return which texts have at least one of the known n-grams: bool [texts].

    known: as `ngrams` and `union` give it. It may be memory-mapped: only what is looked up is read.
    """
    grams, counts = words.runs(*words.hashed(texts), n)
    order = np.argsort(grams)  # looked up in order, neighbours lie in the same pages
    grams, text_index = grams[order], np.repeat(np.arange(len(texts)), counts)[order]
    locations = np.searchsorted(known, grams)
    inside = locations < len(known)
    hit = known[locations[inside]] == grams[inside]
    found = np.zeros(len(texts), bool)
    found[text_index[inside][hit]] = True
    return found
