"""Documents out of rows: one document for each distinct text of all sources together, in exactly one split.

A pair, and a choice with its answers, is one text with others: its first text alone decides the split.

Texts are distinct if they differ in any character: a thumb up from a thumb down, `3 - 2` from `3 + 2`. The normalised
text and the seed decide the split. So texts that differ only in signs, case or spaces are documents of one split.
Nearly all sentences of Rotten Tomatoes are in two sources: none can be trained on under one name and tested under the
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from jokbo.data.conversations.turns import SCHEMA, Turns, turns_of

DOCUMENT_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("sources", pa.list_(pa.string())),  # sorted
        ("label", pa.string()),  # null where unknown, and where the sources contradict each other
        ("ratings", pa.list_(pa.int64())),  # of all sources, sorted, null if there is none
        ("language", pa.string()),  # ISO 639; "und" where it cannot be told
        ("others", pa.list_(pa.string())),  # of a pair or a choice, null if there are none
        ("turns", SCHEMA),  # of a conversation; null for another text
    ]
)


@dataclass
class Document:
    """What the rows of one text say of it."""

    sources: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    ratings: list[int] = field(default_factory=list)
    languages: set[str] = field(default_factory=set)
    turns: set[Turns] = field(default_factory=set)  # of several, all of one text, the first in order is kept

    def row(self, text: str, others: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the document as a row of DOCUMENT_SCHEMA."""
        return {
            "text": text,
            "others": [*others] or None,
            "sources": sorted(self.sources),
            "label": next(iter(self.labels)) if len(self.labels) == 1 else None,
            "ratings": sorted(self.ratings) or None,
            "language": min(self.languages),
            "turns": [turn._asdict() for turn in min(self.turns)] if self.turns else None,
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
        document.turns.update([turns_of(row["turns"])] if row["turns"] else ())
    return {name: found[name] for name in sorted(found, key=lambda name: (name[0], len(name[1]), *name[1:]))}
