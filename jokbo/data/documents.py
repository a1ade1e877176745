"""Documents out of rows: one document a distinct text over all sets together, in exactly one split.

The split is decided by the text alone (its normalised form and the seed). So a sentence that stands in two
sets, as nearly all of Rotten Tomatoes does, cannot be trained on under one name and tested on under another.
"""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import pyarrow as pa

from jokbo.data.cleaning import clean, normalised

DOCUMENT_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("sources", pa.list_(pa.string())),  # sorted
        ("label", pa.int64()),  # null where unknown, and where the sources contradict each other
        ("ratings", pa.list_(pa.int64())),  # of all sources, null if there is none
    ]
)


@dataclass
class _Document:
    texts: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    labels: set[int] = field(default_factory=set)
    ratings: list[int] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        # Of several spellings the shortest and then the first in code order: the natural one, rather than
        # the one in lower case with a space before each comma, as Rotten Tomatoes is distributed.
        return {
            "text": min(self.texts, key=lambda text: (len(text), text)),
            "sources": sorted(self.sources),
            "label": next(iter(self.labels)) if len(self.labels) == 1 else None,
            "ratings": self.ratings or None,
        }


def build_documents(
    rows: Iterable[Mapping[str, Any]], *, seed: int, splits: Mapping[str, float], minimum_words: int
) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """Clean, merge and split rows of the raw table (formats.RAW_SCHEMA).

    splits: the share of each split, adding up to 1; the last takes what rounding leaves. Texts of fewer than
    `minimum_words` words are dropped.
    Returns a table of DOCUMENT_SCHEMA a split, in an order that does not depend on the sets' own, and counts:
    rows/SOURCE, dropped/REASON (rows), merged (rows that joined another's document), conflicting_labels,
    in_several_sources, documents/SPLIT/all and documents/SPLIT/SOURCE.
    """
    counts: Counter[str] = Counter({"merged": 0, "conflicting_labels": 0, "in_several_sources": 0})
    counts.update({"dropped/short": 0, "dropped/wordless": 0})
    documents: dict[str, _Document] = {}
    for row in rows:
        counts[f"rows/{row['source']}"] += 1
        text = clean(row["text"])
        key = normalised(text)
        if not key:
            counts["dropped/wordless"] += 1
        elif len(text.split()) < minimum_words:
            counts["dropped/short"] += 1
        else:
            counts["merged"] += key in documents
            document = documents.setdefault(key, _Document())
            document.texts.add(text)
            document.sources.add(row["source"])
            document.labels.update(() if row["label"] is None else (row["label"],))
            document.ratings.extend(row["ratings"] or ())

    positions = {key: _position(key, seed) for key in documents}
    placed: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
    for key in sorted(documents, key=lambda key: (positions[key], key)):
        split = _split_at(positions[key], splits)
        document = documents[key]
        placed[split].append(document.row())
        counts["conflicting_labels"] += len(document.labels) > 1
        counts["in_several_sources"] += len(document.sources) > 1
        counts.update(f"documents/{split}/{name}" for name in ("all", *document.sources))
    tables = {split: pa.Table.from_pylist(found, schema=DOCUMENT_SCHEMA) for split, found in placed.items()}
    return tables, dict(counts)


def only_labelled(table: pa.Table) -> pa.Table:
    """The documents with a label: those from which a judge can learn."""
    return table.filter(table["label"].is_valid())


def _position(key: str, seed: int) -> float:
    """Where in [0, 1) a text falls. It decides the split, and the order within it."""
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") / 2**64


def _split_at(position: float, splits: Mapping[str, float]) -> str:
    """The split whose share of the unit interval holds the position."""
    inner_ends = list(accumulate(splits.values()))[:-1]
    return list(splits)[bisect(inner_ends, position)]
