"""Own prompts apart from what models learn from and are evaluated on, as documents are kept apart from each other.

They are compared by the normalised text of all their turns but the system prompt, by the shingles of near-duplicates,
and by n-grams. What counts as near, and how long an n-gram is, is said in the section `prepare`, as for documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from jokbo.data.conversations.own import asked_in, key_of
from jokbo.data.conversations.turns import Turns, text_of, turns_of, without_system
from jokbo.data.prepare import contamination, near_duplicates
from jokbo.data.tables import a_few

if TYPE_CHECKING:
    from datasets import Dataset

    from jokbo.params import Prepare
    from jokbo.params.data import NearDuplicates

LEARNED, HELD_OUT = ("train",), ("validation", "test")
FEW = 500  # texts whose words are looked at together

# why a prompt is left out
SEEN = "it is asked in a training conversation"
EVALUATED = "models are evaluated on it"
REPEATED = "it repeats another"
NEAR = "it is nearly the same as another"
NEAR_DOCUMENT = "it is nearly the same as a document"
SHARED = "it shares prepare.decontaminate.ngram words in a row with a document"


def why_not(asked: Sequence[Turns], documents: Mapping[str, Dataset], settings: Prepare) -> list[str | None]:
    """Return for each prompt why it is left out; None if it stays.

    It stays if no document answers it and, with `near_duplicates.drop`, none is nearly the same; if, with any
    `decontaminate.splits`, it shares no n-gram with a document; and if no prompt before it is the same, or nearly so.
    """
    reasons = _repeated(asked, documents)
    left = [i for i, reason in enumerate(reasons) if reason is None]

    def leave_out(found: set[int], reason: str) -> None:
        for index in found:
            reasons[left[index]] = reason
        left[:] = [i for i in left if reasons[i] is None]

    def texts() -> list[str]:
        return [text_of(without_system(asked[i])) for i in left]

    if settings.near_duplicates.drop:
        leave_out(_near_documents(texts(), _texts(documents), settings.near_duplicates), NEAR_DOCUMENT)
        leave_out(_near_each_other(texts(), settings.near_duplicates), NEAR)
    if settings.decontaminate.splits:
        leave_out(_sharing(texts(), _texts(documents), settings.decontaminate.ngram), SHARED)
    return reasons


def _repeated(asked: Sequence[Turns], documents: Mapping[str, Dataset]) -> list[str | None]:
    """Return for each prompt why it is left out, as far as equal ones go."""
    known = dict.fromkeys(_keys(documents, HELD_OUT), EVALUATED) | dict.fromkeys(
        _keys(documents, LEARNED), SEEN
    )
    reasons: list[str | None] = []
    for turns in asked:
        key = key_of(turns)
        reasons.append(known.get(key))
        known.setdefault(key, REPEATED)
    return reasons


def _keys(documents: Mapping[str, Dataset], splits: Sequence[str]) -> Iterator[str]:
    for rows in chain.from_iterable(documents[split]["turns"] for split in splits):
        yield from map(key_of, asked_in(turns_of(rows or ())))


def _texts(documents: Mapping[str, Dataset]) -> Iterator[list[str]]:
    """Yield the texts of the documents, and the prompts that conversations answer, a few at a time."""

    def every() -> Iterator[str]:
        for split in (*LEARNED, *HELD_OUT):
            for text, rows in zip(documents[split]["text"], documents[split]["turns"], strict=True):
                yield text
                yield from (text_of(without_system(turns)) for turns in asked_in(turns_of(rows or ())))

    return a_few(every(), len, FEW)


def _near_documents(texts: list[str], others: Iterator[list[str]], near: NearDuplicates) -> set[int]:
    """Return which texts are nearly the same as one of the others."""
    hashes_NB, shingles = _bands(texts, near), [_shingles(text, near) for text in texts]
    found: set[int] = set()
    for some in others:
        hashes_MB = _bands(some, near)
        for other in np.flatnonzero(np.isin(hashes_MB, hashes_NB).any(axis=1)):
            theirs = _shingles(some[other], near)
            sharing = np.flatnonzero(np.isin(hashes_NB, hashes_MB[other]).any(axis=1)).tolist()
            found.update(
                i for i in sharing if near_duplicates.jaccard(shingles[i], theirs) >= near.similarity
            )
    return found


def _near_each_other(texts: list[str], near: NearDuplicates) -> set[int]:
    """Return which texts are nearly the same as one before them, directly or by way of others."""
    hashes_NB = _bands(texts, near)
    ids_NB = np.broadcast_to(np.arange(len(texts), dtype=np.uint64)[:, None], hashes_NB.shape)
    pairs = near_duplicates.candidates(hashes_NB.ravel(), ids_NB.ravel())
    shingles = {i: _shingles(texts[i], near) for i in np.unique(pairs).tolist()}
    alike = [near_duplicates.jaccard(shingles[a], shingles[b]) >= near.similarity for a, b in pairs.tolist()]
    dropped, _ = near_duplicates.clusters(pairs[np.array(alike, bool)])
    return set(dropped.tolist())


def _sharing(texts: list[str], others: Iterator[list[str]], ngram: int) -> set[int]:
    """Return which texts have an n-gram of one of the others."""
    own = contamination.ngrams(texts, ngram)
    hits = (np.intersect1d(contamination.ngrams(some, ngram), own, assume_unique=True) for some in others)
    return set(np.flatnonzero(contamination.shared(texts, ngram, contamination.union(hits))).tolist())


def _bands(texts: list[str], near: NearDuplicates) -> np.ndarray:
    return near_duplicates.band_hashes(
        texts, shingle_words=near.shingle_words, bands=near.bands, rows=near.rows
    )


def _shingles(text: str, near: NearDuplicates) -> np.ndarray:
    return near_duplicates.shingles(text, near.shingle_words)
