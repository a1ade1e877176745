"""Models compared by people: what the stage `evaluate` had them write, asked on the page, and their ranking.

Who wrote what stands in the batch alone: neither the page nor its database knows it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import choix
import numpy as np
from scipy.special import expit

from jokbo.evaluation.intervals import of_resamples
from jokbo.labelling.agreement import said
from jokbo.preferences.batch import Batch, Item, Vote, standing
from jokbo.preferences.records import records
from jokbo.runtime.errors import InputError

NAME = "models"  # the batch's, among those of labellers
SAMPLES = 500  # resamples of the bootstrap
PRIOR = (
    0.1  # wins of each model over each other one that are added, so that one that always wins has a strength
)


@dataclass(frozen=True)
class Rank:
    """One model in the ranking: how often it is preferred to an average one of them."""

    name: str
    share: float
    low: float  # of the 95% interval by the bootstrap over prompts
    high: float


def batch_of(path: Path, prompts: int, labels_per_item: int) -> Batch:
    """Return every two models' responses to the first so many prompts of a file of `evaluate`, as items to compare.

    InputError if the file is not there, or holds fewer than two models.
    """
    if not path.is_file():
        raise InputError(f"{path}: not there: run the stage evaluate")
    found, alike = {}, 0
    for number, (location, row) in enumerate(records(path, "prompt")):
        if number == prompts:
            break
        wrote = {name: text for name, text in row.items() if name not in ("prompt", "judges")}
        if len(wrote) < 2:
            raise InputError(f"{location}: {len(wrote)} model wrote here: people compare two or more")
        for one, other in combinations(sorted(wrote), 2):
            texts = [wrote[one], wrote[other]]
            if not all(text.strip() for text in texts) or texts[0].strip() == texts[1].strip():
                alike += 1
                continue
            item = replace(Item.of(row["prompt"], texts), writers=[one, other])
            found[item.id] = item
    if not found:
        raise InputError(f"{path}: no two models wrote different texts: there is nothing to compare")
    items = [found[id] for id in sorted(found)]
    id = hashlib.sha256("".join(f"{item.id}{item.writers}" for item in items).encode()).hexdigest()[:16]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Batch(id, NAME, labels_per_item, "", items, alike, 0, now)


def ranking(batch: Batch, votes: Sequence[Vote], *, seed: int = 1) -> list[Rank] | str:
    """Return the models that wrote what was judged, the best first, or why there is no ranking. A tie is half a win."""
    items = {item.id: item for item in batch.items if item.writers}
    names = sorted({name for item in items.values() for name in item.writers or ()})
    if not names:
        return "one model wrote all answers"
    wins = defaultdict(lambda: np.zeros((len(names), len(names))))
    for vote in standing(votes):
        writers = items[vote.item].writers if vote.item in items else None
        if not writers:
            continue
        for (_, one, other), value in said(vote):
            first, second = names.index(writers[one]), names.index(writers[other])
            share = 0.5 if isinstance(value, str) else 1.0 - value
            wins[vote.prompt][first, second] += share
            wins[vote.prompt][second, first] += 1 - share
    if len(wins) < 2:
        return "it needs judgements of two prompts or more"
    wins_PMM = np.stack(list(wins.values()))
    best = _shares(wins_PMM.sum(0))
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(len(wins_PMM), size=len(wins_PMM)) for _ in range(SAMPLES))
    drawn_SM = np.stack([_shares(wins_PMM[index].sum(0)) for index in drawn])
    rows = [Rank(name, *of_resamples(float(best[i]), drawn_SM[:, i])) for i, name in enumerate(names)]
    return sorted(rows, key=lambda row: -row.share)


def _shares(wins_MM: np.ndarray) -> np.ndarray:
    """Return how often each model is preferred to an average one, by the model of Bradley and Terry (1952)."""
    added = PRIOR * (1 - np.eye(len(wins_MM)))
    return expit(choix.ilsr_pairwise_dense(wins_MM + added))
