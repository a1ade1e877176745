"""Documents out of rows: one document a distinct text over all sets together, in exactly one split.

Distinct is what differs in any character: a thumb up from a thumb down, `3 - 2` from `3 + 2`. The split is decided by
the normalised text and the seed. So texts that differ in signs, case or spaces alone are documents of one split, and a
sentence that stands in two sets, as nearly all of Rotten Tomatoes does, cannot be trained on under one name and tested
on under another.
"""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import pyarrow as pa

DOCUMENT_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("sources", pa.list_(pa.string())),  # sorted
        ("label", pa.int64()),  # null where unknown, and where the sources contradict each other
        ("ratings", pa.list_(pa.int64())),  # of all sources, sorted, null if there is none
        ("language", pa.string()),  # ISO 639, "und" where it can't be told
    ]
)
DIGEST_BYTES = 16


def digest(key: str, seed: int) -> bytes:
    """What decides a document's split: a hash of its normalised text. Its order is the order of documents."""
    return hashlib.blake2b(key.encode(), digest_size=DIGEST_BYTES, key=seed.to_bytes(8, "big")).digest()


def part(digest: bytes, parts: int) -> int:
    """Which of so many equal parts of the space of digests this one lies in."""
    return int.from_bytes(digest[:8], "big") * parts >> 64


def split_of(digest: bytes, splits: Mapping[str, float]) -> str:
    """The split whose share of the space of digests holds this one; the last takes what rounding leaves."""
    inner_ends = list(accumulate(splits.values()))[:-1]
    return list(splits)[bisect(inner_ends, int.from_bytes(digest[:8], "big") / 2**64)]


@dataclass
class Document:
    """What several rows say of one text."""

    sources: set[str] = field(default_factory=set)
    labels: set[int] = field(default_factory=set)
    ratings: list[int] = field(default_factory=list)
    languages: set[str] = field(default_factory=set)

    def row(self, text: str) -> dict[str, Any]:
        return {
            "text": text,
            "sources": sorted(self.sources),
            "label": next(iter(self.labels)) if len(self.labels) == 1 else None,
            "ratings": sorted(self.ratings) or None,
            "language": min(self.languages),
        }


def merged(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[bytes, str], Document]:
    """Documents by digest and text, in the order of digests, from rows that have one each, in whatever order.

    Of one digest the shortest text is first: the natural spelling, rather than that in lower case with a space before
    each comma, as Rotten Tomatoes is distributed.
    """
    found: dict[tuple[bytes, str], Document] = {}
    for row in rows:
        document = found.setdefault((row["digest"], row["text"]), Document())
        document.sources.add(row["source"])
        document.labels.update(() if row["label"] is None else (row["label"],))
        document.ratings.extend(row["ratings"] or ())
        document.languages.add(row["language"])
    return {name: found[name] for name in sorted(found, key=lambda name: (name[0], len(name[1]), name[1]))}
