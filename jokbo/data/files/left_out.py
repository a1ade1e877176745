"""What of a source is not read, and why: it is counted, named and printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

from jokbo.data.conversations.turns import REASONS

TOO_LONG = "too long"
EMPTY = "empty"
NAMED = 3  # locations that are named for each reason


class LeftOut(NamedTuple):
    """A file that is passed over or, where the reason is TOO_LONG or among REASONS, a text or conversation in it."""

    location: str
    reason: str


@dataclass
class Read:
    """What was read of one entry of `fetch.sources`, and what was not."""

    sources: Counter[str] = field(default_factory=Counter)  # rows by the source that they name
    left_out: Counter[str] = field(default_factory=Counter)  # texts and files by reason
    locations: dict[str, list[str]] = field(default_factory=dict)  # the first of them by reason

    def taken(self, found: Iterable[dict[str, Any] | LeftOut]) -> Iterator[dict[str, Any]]:
        """Yield the rows of what was found; rows and what was left out are counted."""
        for row in found:
            if isinstance(row, LeftOut):
                self.left_out[row.reason] += 1
                locations = self.locations.setdefault(row.reason, [])
                if len(locations) < NAMED and row.location not in locations:
                    locations.append(row.location)
            else:
                self.sources[row["source"]] += 1
                yield row

    def files(self) -> int:
        """Return how many files were passed over."""
        return self.left_out.total() - self.left_out[TOO_LONG] - self.conversations()

    def conversations(self) -> int:
        """Return how many conversations were left out because they are none."""
        return sum(self.left_out[reason] for reason in REASONS)

    def line(self) -> str:
        """Return one line on what was left out, with the first locations of each reason; it is empty if nothing was."""
        phrases = []
        for reason, locations in self.locations.items():
            count, long = self.left_out[reason], reason == TOO_LONG
            if reason in REASONS:
                where = ", ".join(locations) + ", ..." * (count > len(locations))
                phrases.append(f"{count} conversation{'s' * (count > 1)} left out, {reason} ({where})")
                continue
            what = "longer than fetch.maximum_bytes" if long else f"passed over, {reason}"
            where = ", ".join(locations if long else (PurePath(location).name for location in locations))
            dots = ", ..." if not long and count > len(locations) else ""
            phrases.append(f"{count} {'text' if long else 'file'}{'s' * (count > 1)} {what} ({where}{dots})")
        return "; ".join(phrases)
