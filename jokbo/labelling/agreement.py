"""How far people agree: Krippendorff's alpha with an interval, and each person beside the others.

What two people say of two responses is one of four values: the first, the second, a tie, both bad. A ranking says one
of each two of its responses. Alpha is 1 where all agree, 0 where they agree as often as by chance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import krippendorff
import numpy as np

from jokbo.preferences.batch import Vote, standing

VALUES = (0, 1, "tie", "bad")
SAMPLES = 1000  # resamples of the bootstrap
Said = tuple[str, int, int]  # an item, and two of its responses


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha of a batch, or why there is none."""

    items: int  # that two people or more have judged
    value: float | None
    low: float | None  # of the 95% interval by the bootstrap over items; None if there is none
    high: float | None
    why_none: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"Krippendorff's alpha is undefined: {self.why_none}"
        interval = (
            f"95% interval {self.low:.2f} to {self.high:.2f}" if self.low is not None else self.why_none
        )
        return f"Krippendorff's alpha is {self.value:.2f} ({interval}; {self.items:,} items with two labels or more)"


@dataclass(frozen=True)
class Person:
    """What one person has done."""

    name: str
    labels: int
    skipped: int
    compared: int  # times that somebody else said something of the same two responses
    same: int  # of these, times that it was the same
    gold: int  # gold items that they judged
    right: int  # of these


def said(vote: Vote) -> Iterator[tuple[Said, int | str]]:
    """Yield what a vote says of every two responses of its item."""
    if vote.ranking is None:
        return
    place = {index: place for place, group in enumerate(vote.ranking) for index in group}
    for one, other in combinations(range(len(vote.responses)), 2):
        tied = "bad" if vote.both_bad else "tie"
        yield (vote.item, one, other), tied if place[one] == place[other] else int(place[other] < place[one])


def alpha(votes: Sequence[Vote], *, seed: int = 1) -> Alpha:
    """Return the agreement on what stands of the votes, gold items aside."""
    counts: dict[Said, Counter] = defaultdict(Counter)
    for vote in standing(votes):
        if not vote.gold:
            for what, value in said(vote):
                counts[what][value] += 1
    rows: dict[str, list[list[int]]] = defaultdict(list)
    for (item, *_), found in counts.items():
        if found.total() > 1:
            rows[item].append([found[value] for value in VALUES])
    if not rows:
        return Alpha(0, None, None, None, "no item has been judged by two people yet")
    of_items = [np.array(each) for each in rows.values()]
    value = _alpha(of_items)
    if value is None:
        return Alpha(
            len(rows), None, None, None, "all said the same of all items, so chance would agree as well"
        )
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(len(of_items), size=len(of_items)) for _ in range(SAMPLES))
    found = [each for index in drawn if (each := _alpha([of_items[i] for i in index])) is not None]
    if len(found) < 0.95 * SAMPLES:
        return Alpha(len(rows), value, None, None, "too few items differ for an interval")
    low, high = np.quantile(found, [0.025, 0.975])
    return Alpha(len(rows), value, float(low), float(high))


def people(votes: Sequence[Vote], gold: dict[str, list[list[int]]]) -> list[Person]:
    """Return what each person did, by name. gold: the right ranking of each gold item."""
    answers = standing(votes)
    values: dict[Said, dict[str, int | str]] = defaultdict(dict)
    for vote in answers:
        if not vote.gold:
            for what, value in said(vote):
                values[what][vote.labeller] = value
    compared, same = Counter(), Counter()
    for found in values.values():
        for name, value in found.items():
            compared[name] += len(found) - 1
            same[name] += sum(other == value for other in found.values()) - 1
    rows = []
    for name in sorted({vote.labeller for vote in answers}):
        own = [vote for vote in answers if vote.labeller == name]
        golden = [vote for vote in own if vote.gold and vote.ranking is not None]
        right = sum(vote.ranking == gold.get(vote.item) for vote in golden)
        skipped = sum(vote.action == "skipped" for vote in own)
        labels = sum(not vote.gold for vote in own)
        rows.append(Person(name, labels, skipped, compared[name], same[name], len(golden), right))
    return rows


def _alpha(rows: Sequence[np.ndarray]) -> float | None:
    """Return alpha; None if a single value was said."""
    counts = np.concatenate(rows)
    if (counts.sum(axis=0) > 0).sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))
