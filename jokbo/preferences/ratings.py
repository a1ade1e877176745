"""Preferences of people, from the ratings that they gave to single texts: the labeller of kind `ratings`.

Shapes: N texts, R ratings of the scale, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset

from jokbo.data.tables import rows_of
from jokbo.preferences.labeller import Given, Labelled
from jokbo.preferences.pairs import Pair
from jokbo.preferences.raters import SCALE
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import Ratings

PUBLISHED = "2014-06-01T00:00:00Z"  # ICWSM 2014 opened: the ratings themselves carry no time


@dataclass(frozen=True)
class Rated:
    """Texts of one source, and the ratings that people gave to each of them, -4 to 4."""

    source: str
    texts: list[str]
    ratings: list[list[int]]


def rated(documents: Dataset, source: str) -> Rated:
    """Return the rated texts of one source. InputError if it has none."""
    rows = [row for row in rows_of(documents) if source in row["sources"] and row["ratings"]]
    if not rows:
        known = sorted({name for names in documents["sources"] for name in names})
        raise InputError(f"source {source!r} has no rated texts here; sources are {', '.join(known)}")
    return Rated(source, [row["text"] for row in rows], [row["ratings"] for row in rows])


def labelled(settings: Ratings, given: Given) -> Labelled:
    """Return pairs of rated texts: of training texts to learn from, of test texts with agreement for the test."""
    train, test = (
        pairs_over(
            [rated(given.documents[split], source) for source in settings.sources],
            pairs=pairs,
            seed=given.seed,
            minimum_agreement=minimum_agreement,
        )
        for split, pairs, minimum_agreement in (
            ("train", settings.pairs, 0.5),
            ("test", settings.test_pairs, settings.minimum_agreement),
        )
    )
    return Labelled(train, test)


def pairs_over(sources: Sequence[Rated], *, pairs: int, seed: int, minimum_agreement: float) -> list[Pair]:
    """Return `pairs_of` every source, equally many of each."""
    each = pairs // len(sources)
    return [
        pair
        for source in sources
        for pair in pairs_of(source, pairs=each, seed=seed, minimum_agreement=minimum_agreement)
    ]


def pairs_of(rated: Rated, *, pairs: int, seed: int, minimum_agreement: float) -> list[Pair]:
    """Return the preference pairs that people's single ratings imply, of random texts of one source.

    Every rating of the one text is compared with every rating of the other, ties left out. The choice is the text that
    wins more of them; `agreement` is the share that it wins. Pairs below `minimum_agreement` are passed over: 0.5 keeps
    all that are not a draw. No two texts meet twice. Raises InputError if there are not `pairs` of them.
    """
    histogram_NR = np.array(
        [np.bincount(np.subtract(row, SCALE[0]), minlength=len(SCALE)) for row in rated.ratings]
    )
    below_NR = histogram_NR.cumsum(axis=1) - histogram_NR
    count = len(rated.texts)
    orderings = count * (count - 1)  # ordered pairs: which text comes first is part of the draw
    drawn = min(orderings, 4 * pairs)
    while True:
        code_P = np.random.default_rng(seed).choice(orderings, size=drawn, replace=False)
        first_P, second_P = code_P // (count - 1), code_P % (count - 1)
        second_P += second_P >= first_P
        meeting_P = np.minimum(first_P, second_P) * count + np.maximum(first_P, second_P)
        new = np.sort(np.unique(meeting_P, return_index=True)[1])
        first_P, second_P = first_P[new], second_P[new]
        first_wins_P = (histogram_NR[first_P] * below_NR[second_P]).sum(axis=1)
        second_wins_P = (histogram_NR[second_P] * below_NR[first_P]).sum(axis=1)
        agreement_P = np.maximum(first_wins_P, second_wins_P) / np.maximum(first_wins_P + second_wins_P, 1)
        kept = np.flatnonzero((first_wins_P != second_wins_P) & (agreement_P >= minimum_agreement))[:pairs]
        if len(kept) == pairs:
            break
        if drawn == orderings:
            raise InputError(
                f"preferences of people: {count} texts of {rated.source!r} give {len(kept)} pairs with agreement of at "
                f"least {minimum_agreement}, not {pairs}; ask for fewer or for less agreement"
            )
        drawn = min(orderings, 4 * drawn)
    return [
        {
            "prompt": "",
            "responses": [rated.texts[int(first_P[p])], rated.texts[int(second_P[p])]],
            "choice": int(second_wins_P[p] > first_wins_P[p]),
            "labeller": rated.source,
            "time": PUBLISHED,
            "source": rated.source,
            "agreement": float(agreement_P[p]),
            "by_policy": False,
        }
        for p in kept
    ]
