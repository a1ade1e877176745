"""What of a source is not read, and why: counted, named and said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

TOO_LONG = "too long"
EMPTY = "empty"
NAMED = 3  # places of each reason


class LeftOut(NamedTuple):
    """A file that is passed over or, where the reason is TOO_LONG, a text in it."""

    place: str
    reason: str


@dataclass
class Read:
    """What was read of one entry of `fetch.sources`, and what was not."""

    sources: Counter[str] = field(default_factory=Counter)  # rows by the source that they name
    left_out: Counter[str] = field(default_factory=Counter)  # texts and files by reason
    places: dict[str, list[str]] = field(default_factory=dict)  # the first of them by reason

    def taken(self, found: Iterable[dict[str, Any] | LeftOut]) -> Iterator[dict[str, Any]]:
        """The rows among what was found; all of it is counted."""
        for row in found:
            if isinstance(row, LeftOut):
                self.left_out[row.reason] += 1
                places = self.places.setdefault(row.reason, [])
                if len(places) < NAMED and row.place not in places:
                    places.append(row.place)
            else:
                self.sources[row["source"]] += 1
                yield row

    def files(self) -> int:
        """How many files were passed over."""
        return self.left_out.total() - self.left_out[TOO_LONG]

    def line(self) -> str:
        """What was left out, with the first places of each reason; nothing if nothing was."""
        parts = []
        for reason, places in self.places.items():
            count, long = self.left_out[reason], reason == TOO_LONG
            what = "longer than fetch.maximum_bytes" if long else f"passed over, {reason}"
            where = ", ".join(places if long else (PurePath(place).name for place in places))
            dots = ", ..." if not long and count > len(places) else ""
            parts.append(f"{count} {'text' if long else 'file'}{'s' * (count > 1)} {what} ({where}{dots})")
        return "; ".join(parts)
