"""How many labels of a batch are in, and how long others are waited for.

The clock only decides whether there are enough: what is made of the labels hangs on the labels alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jokbo.preferences.batch import Batch, Vote, standing

if TYPE_CHECKING:
    from jokbo.params import People


@dataclass(frozen=True)
class Labels:
    """The labels of a batch: how many are asked for, how many are in, and when waiting ends."""

    needed: int
    given: int
    enough: int  # so many suffice when the deadline has passed
    deadline: datetime | None  # None: the last label is waited for
    late: bool  # whether it has passed

    @property
    def missing(self) -> int:
        return self.needed - self.given

    @property
    def awaited(self) -> bool:
        """Whether a label is missing and no deadline has passed."""
        return self.missing > 0 and not self.late

    @property
    def suffice(self) -> bool:
        return self.given >= (self.enough if self.late else self.needed)

    def __str__(self) -> str:
        said = f"{self.missing:,} of {self.needed:,} labels are missing"
        if self.deadline is None:
            return said
        when = f"{self.deadline:%Y-%m-%d %H:%M} UTC"
        if self.late:
            return f"{said} at the deadline, {when}"
        return f"{said} (waiting ends at {when}, where {self.enough:,} suffice)"


def answers(batch: Batch, votes: Iterable[Vote]) -> list[Vote]:
    """Return what stands of the votes on a batch: gold items and other responses aside."""
    known = {item.id for item in batch.asked()}
    own = [vote for vote in votes if vote.batch == batch.id and not vote.gold and vote.item in known]
    return standing(own)


def labels(batch: Batch, settings: People, found: Iterable[Vote]) -> Labels:
    """Return how many labels the answers that were found are. More than are asked for of an item do not count."""
    there, each = Counter(vote.item for vote in found), batch.labels_per_item
    needed = len(batch.asked()) * each
    given = sum(min(count, each) for count in there.values())
    enough = needed if settings.enough is None else max(1, math.ceil(round(settings.enough * needed, 6)))
    deadline = None
    if settings.deadline_hours is not None and batch.published is not None:
        begun = datetime.fromisoformat(batch.published)
        deadline = begun + timedelta(hours=settings.deadline_hours)
    return Labels(needed, given, enough, deadline, deadline is not None and datetime.now(UTC) >= deadline)
