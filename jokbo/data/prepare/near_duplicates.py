"""Documents that are nearly the same: MinHash with bands proposes pairs, exact Jaccard similarity decides.

Broder 1997 ("On the resemblance and containment of documents"). Bands are from Leskovec, Rajaraman, Ullman, "Mining of
Massive Datasets", section 3.4. Shingles are of words, as in Lee et al. 2022, appendix A.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from jokbo.data.prepare import words

_SEED = 1  # of the permutations
# Documents of a group of which all pairs are taken, for pairs grow with the group's square. What more documents share
# is boilerplate, or one text many times. Then a link of each to the first is as good, and other bands link them too.
_ALL_PAIRS = 32


def band_hashes(texts: Sequence[str], *, shingle_words: int, bands: int, rows: int) -> np.ndarray:
    """Return a hash of each band of each text's MinHash signature: uint64 [texts, bands].

    A signature has bands * rows values. Two texts of Jaccard similarity s share at least one band with probability
    1 - (1 - s**rows)**bands (section 3.4.2). The band's number is hashed too, so equal hashes are of the same band.
    """
    hashes, counts = _shingles(texts, shingle_words)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, bands * rows, _SEED)
    signatures = np.array(matrix.to_rows(), np.uint64).reshape(len(texts), bands, rows)
    return words.combined((np.arange(bands, dtype=np.uint64), *np.moveaxis(signatures, 2, 0)))


def shingles(text: str, shingle_words: int) -> np.ndarray:
    """Return the hashes of all runs of `shingle_words` words of a text: uint64, sorted, distinct.

    A text of fewer words is one shingle.
    """
    return words.distinct(_shingles([text], shingle_words)[0])


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of two texts' shingles that both have: 1 for the same text, 0 for nothing in common."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def candidates(hashes: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the pairs of documents that share a band hash: ids, uint64 [pairs, 2], smaller first, sorted, distinct.

    hashes and ids, both uint64 [rows]: a band hash and the document that has it, in any order. All rows of a hash must
    be among them, as they are when the hashes are partitioned by their top bits. If more than 32 documents share a
    hash, each is paired only with the one of the smallest id.
    """
    order = np.lexsort((ids, hashes))
    hashes, ids = hashes[order], ids[order]
    starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)])
    sizes = np.diff(starts, append=len(hashes))
    group, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)  # a group is named by where it starts
    large = size > _ALL_PAIRS
    pairs = [np.stack((ids[group], ids), axis=1)[large]]
    small = (size > 1) & ~large
    group, ids = group[small], ids[small]
    for distance in range(1, _ALL_PAIRS):
        same = group[distance:] == group[:-distance]
        pairs.append(np.stack((ids[:-distance], ids[distance:]), axis=1)[same])
    return distinct_pairs(np.concatenate(pairs))


def distinct_pairs(pairs: np.ndarray) -> np.ndarray:
    """Return the pairs of ids sorted and each once, without pairs of a document and itself."""
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    new = np.ones(len(pairs), bool)
    new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[new]


def clusters(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids to drop, sorted, and for each the id that is kept instead.

    pairs, [pairs, 2], link documents to connected components. Of each component the smallest id stays.
    """
    ids, indices = np.unique(pairs, return_inverse=True)
    ends = indices.reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs), bool), tuple(ends)), shape=(len(ids), len(ids)))
    _, component = connected_components(graph, directed=False)
    _, first, back = np.unique(component, return_index=True, return_inverse=True)
    kept = ids[first[back]]  # ids are sorted, so the first of a component is its smallest
    dropped = ids != kept
    return ids[dropped], kept[dropped]


def _shingles(texts: Sequence[str], shingle_words: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of all shingles of all texts, with repetitions, and how many each text has (at least one)."""
    hashes, counts = words.hashed(texts)
    missing = np.maximum(shingle_words - counts, 0)
    hashes = np.insert(hashes, np.repeat(np.cumsum(counts), missing), 0)
    return words.runs(hashes, counts + missing, shingle_words)
