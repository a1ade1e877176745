"""How far each person can be relied on, from their votes alone: two models of who errs.

Dawid and Skene (1979) say how often a person gives the true label (jokbo.preferences.aggregated). The noisy
Bradley-Terry model (Chen et al. 2013, with the sides of Bugakova et al. 2019) says how often a person reads at all:
with probability `attention` they choose by the strength of the responses, else by the side alone. crowd-kit 1.4.2 has
that model, but its gradient for people is wrong: of each person it keeps the last vote, where all are to be summed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from jokbo.labelling.agreement import said
from jokbo.preferences.aggregated import Comparison, Label
from jokbo.preferences.batch import Vote, standing

SPREAD = 2.0  # standard deviation that strengths, sides and attention are held to, in log-odds
ATTENTIVE = 2.0  # the log-odds of attention that are expected of a person of whom little is known


@dataclass(frozen=True)
class Reading:
    """How one person chooses."""

    attention: float  # how often by the responses
    first_side: float  # how often the first one, where they do not read


@dataclass(frozen=True)
class Choices:
    """Choices of one of two responses: N of them, responses and people by their numbers."""

    first_N: np.ndarray  # the response that stood first
    second_N: np.ndarray
    person_N: np.ndarray
    sign_N: np.ndarray  # 1 where the first was chosen, else -1
    texts: int
    people: int

    @property
    def expected(self) -> np.ndarray:
        """What strengths, sides and attention are expected to be before anybody has chosen."""
        return np.concatenate([np.zeros(self.texts + self.people), np.full(self.people, ATTENTIVE)])


def labels_of(votes: Sequence[Vote]) -> dict[Comparison, dict[str, Label]]:
    """Return what each person says of every two responses, gold items aside; both bad is a tie."""
    found: dict[Comparison, dict[str, Label]] = defaultdict(dict)
    for vote in standing(votes):
        if not vote.gold:
            for (item, one, other), value in said(vote):
                label = value if isinstance(value, int) else None
                found[item, str(one), str(other)][vote.labeller] = label
    return found


def readings(votes: Sequence[Vote]) -> dict[str, Reading]:
    """Return how each person chooses, ties aside; nothing where fewer than two of them have judged the same."""
    rows = _choices(votes)
    several = {(item, pair) for item, pair, *_ in rows}
    people = sorted({name for *_, name, _ in rows})
    if len(people) < 2 or len(several) == len(rows):
        return {}
    texts = sorted({(item, index) for item, pair, *_ in rows for index in pair})
    place = {text: number for number, text in enumerate(texts)}
    data = Choices(
        first_N=np.array([place[item, left] for item, _, left, *_ in rows]),
        second_N=np.array([place[item, sum(pair) - left] for item, pair, left, *_ in rows]),
        person_N=np.array([people.index(name) for *_, name, _ in rows]),
        sign_N=np.array([1.0 if won else -1.0 for *_, won in rows]),
        texts=len(texts),
        people=len(people),
    )
    found = minimize(objective, data.expected, args=(data,), jac=True, method="L-BFGS-B").x
    sides, attention = expit(found[data.texts :]).reshape(2, -1)
    return {name: Reading(float(attention[i]), float(sides[i])) for i, name in enumerate(people)}


def objective(values: np.ndarray, data: Choices) -> tuple[float, np.ndarray]:
    """Return the negative log-posterior of strengths, sides and attention, in this order, and its gradient."""
    strength, side, attention = np.split(values, [data.texts, data.texts + data.people])
    reads_N = expit(attention)[data.person_N]
    by_text_N = expit(data.sign_N * (strength[data.first_N] - strength[data.second_N]))
    by_side_N = expit(data.sign_N * side[data.person_N])
    chance_N = reads_N * by_text_N + (1 - reads_N) * by_side_N
    text_N = reads_N * by_text_N * (1 - by_text_N) * data.sign_N / chance_N
    side_N = (1 - reads_N) * by_side_N * (1 - by_side_N) * data.sign_N / chance_N
    reading_N = (by_text_N - by_side_N) * reads_N * (1 - reads_N) / chance_N
    slope = np.concatenate(
        [
            np.bincount(data.first_N, text_N, data.texts) - np.bincount(data.second_N, text_N, data.texts),
            np.bincount(data.person_N, side_N, data.people),
            np.bincount(data.person_N, reading_N, data.people),
        ]
    )
    off = (values - data.expected) / SPREAD
    return float(-np.log(chance_N).sum() + (off**2).sum() / 2), off / SPREAD - slope


def _choices(votes: Sequence[Vote]) -> list[tuple[str, tuple[int, int], int, str, bool]]:
    """Return of each choice its item, the two responses, which of them stood first, who chose, and whether that one."""
    rows = []
    for vote in standing(votes):
        for (item, one, other), value in said(vote) if not vote.gold else ():
            if isinstance(value, int):
                left = min(one, other, key=vote.shown.index)
                rows.append((item, (one, other), left, vote.labeller, (one, other)[value] == left))
    return rows
