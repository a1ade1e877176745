"""Documents out of rows: one document for each distinct text of all sources together, in exactly one split.

A pair, and a choice with its answers, is one text with others: its first text alone decides the split.

Texts are distinct if they differ in any character: a thumb up from a thumb down, `3 - 2` from `3 + 2`. The normalised
text and the seed decide the split. So texts that differ only in signs, case or spaces are documents of one split.
Nearly all sentences of Rotten Tomatoes are in two sources: none can be trained on under one name and tested under the
other.
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
        ("label", pa.string()),  # null where unknown, and where the sources contradict each other
        ("ratings", pa.list_(pa.int64())),  # of all sources, sorted, null if there is none
        ("language", pa.string()),  # ISO 639; "und" where it cannot be told
        ("others", pa.list_(pa.string())),  # of a pair or a choice, null if there are none
    ]
)
DIGEST_BYTES = 16


def digest(key: str, seed: int) -> bytes:
    """Return the hash of a normalised text and the seed. It decides the split and the order of documents."""
    return hashlib.blake2b(key.encode(), digest_size=DIGEST_BYTES, key=seed.to_bytes(8, "big")).digest()


def partition_of(digest: bytes, partitions: int) -> int:
    """Return the number of the partition, one of so many equal intervals of all digests, that holds this one."""
    return int.from_bytes(digest[:8], "big") * partitions >> 64


def split_of(digest: bytes, splits: Mapping[str, float]) -> str:
    """Return the split whose share of all digests holds this one; the last split takes what rounding leaves.

    splits: the share of each, in order.
    """
    inner_ends = list(accumulate(splits.values()))[:-1]
    return list(splits)[bisect(inner_ends, int.from_bytes(digest[:8], "big") / 2**64)]


@dataclass
class Document:
    """What the rows of one text say of it."""

    sources: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    ratings: list[int] = field(default_factory=list)
    languages: set[str] = field(default_factory=set)

    def row(self, text: str, others: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the document as a row of DOCUMENT_SCHEMA."""
        return {
            "text": text,
            "others": [*others] or None,
            "sources": sorted(self.sources),
            "label": next(iter(self.labels)) if len(self.labels) == 1 else None,
            "ratings": sorted(self.ratings) or None,
            "language": min(self.languages),
        }


def merged(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[bytes, str, tuple[str, ...]], Document]:
    """Return the documents of rows by digest, text and other texts, in the order of digests. The order of the rows does
    not matter.

    Of texts with one digest the shortest is first. It is the natural spelling: Rotten Tomatoes writes in lower case,
    with a space before each comma.
    """
    found: dict[tuple[bytes, str, tuple[str, ...]], Document] = {}
    for row in rows:
        name = (row["digest"], row["text"], tuple(row.get("others") or ()))
        document = found.setdefault(name, Document())
        document.sources.add(row["source"])
        document.labels.update(() if row["label"] is None else (row["label"],))
        document.ratings.extend(row["ratings"] or ())
        document.languages.add(row["language"])
    return {name: found[name] for name in sorted(found, key=lambda name: (name[0], len(name[1]), *name[1:]))}
