"""How far a judge can be believed: whether it says the same in both orders, which place and which length it likes, and
how often it agrees with others on the very same pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from jokbo.evaluation import intervals
from jokbo.evaluation.intervals import Estimated
from jokbo.feedback.verdicts import Pair, Unjudged, Verdict
from jokbo.preferences.pairs import Pair as Row
from jokbo.preferences.pairs import decided


@dataclass(frozen=True)
class Agreement:
    """A judge beside another labeller, on pairs of that one."""

    pairs: int  # that both were asked about
    ties: int  # of the judge
    unjudged: int  # of which it says nothing
    same: Estimated | None  # how often it prefers the same response, where it prefers one; None for too few
    likelier: (
        Estimated | None
    )  # how often it finds that response the more probable one, over all that it judged


@dataclass(frozen=True)
class Trust:
    """What is known of a judge from the pairs that it judged."""

    judged: int
    ties: float  # share of them
    consistent: Estimated | None  # how often both orders say the same
    first: Estimated | None  # how often what is shown first wins: one half where the place does not matter
    longer: Estimated | None  # how often the longer response wins, where one does
    mass: float  # probability of A and B together, the lesser of both orders, a mean
    agreement: Mapping[str, Agreement] = field(default_factory=dict)  # by the other labeller


def measured(pairs: Sequence[Pair], verdicts: Sequence[Verdict | Unjudged]) -> Trust:
    """Return what is known of a judge, without others to compare it with. At least one pair must have a verdict."""
    rows = [(pair, each) for pair, each in zip(pairs, verdicts, strict=True) if isinstance(each, Verdict)]
    units = [texts_of(pair) for pair, _ in rows]
    longer = [
        (float((len(pair.first) > len(pair.second)) == (each.choice == 0)), texts_of(pair))
        for pair, each in rows
        if each.choice is not None and len(pair.first) != len(pair.second)
    ]
    return Trust(
        judged=len(rows),
        ties=sum(each.choice is None for _, each in rows) / len(rows),
        consistent=_estimate([float(each.choice is not None) for _, each in rows], units),
        first=_estimate([_first(each) for _, each in rows], units),
        longer=_estimate([value for value, _ in longer], [unit for _, unit in longer]),
        mass=sum(each.mass for _, each in rows) / len(rows),
    )


def agreed(others: Mapping[Pair, int], verdicts: Mapping[Pair, Verdict | Unjudged]) -> Agreement:
    """Return how often the judge prefers what the other labeller does. `others`: the index that is preferred."""
    rows = [(pair, choice, verdicts[pair]) for pair, choice in others.items()]
    said = [(pair, choice, each) for pair, choice, each in rows if isinstance(each, Verdict)]
    both = [each for each in said if each[2].choice is not None]
    return Agreement(
        pairs=len(rows),
        ties=len(said) - len(both),
        unjudged=len(rows) - len(said),
        same=_estimate(
            [float(choice == own.choice) for _, choice, own in both], [texts_of(pair) for pair, _, _ in both]
        ),
        likelier=_estimate(
            [_likelier(choice, own.probability) for _, choice, own in said],
            [texts_of(pair) for pair, _, _ in said],
        ),
    )


def preferred(rows: Iterable[Row]) -> dict[Pair, int]:
    """Return what most rows of the same two responses prefer, in the rows' order; without what is even."""
    votes: defaultdict[Pair, Counter[int]] = defaultdict(Counter)
    for row in decided(rows):
        votes[Pair(row["prompt"], *row["responses"])][row["choice"]] += 1
    return {pair: int(found[1] > found[0]) for pair, found in votes.items() if found[0] != found[1]}


def texts_of(pair: Pair) -> tuple[str, ...]:
    """Return what the errors of several pairs may have in common: the prompt, or the texts where there is none."""
    return (pair.prompt,) if pair.prompt else (pair.first, pair.second)


def _first(verdict: Verdict) -> float:
    """Return in which share of the orders what is shown first wins; one that is even counts half."""
    as_a, as_b = verdict.orders
    return sum(0.5 if each == 0.5 else float(each > 0.5) for each in (as_a, 1 - as_b)) / 2


def _likelier(choice: int, probability: float) -> float:
    return 0.5 if probability == 0.5 else float((probability < 0.5) == choice)


def _estimate(values: Sequence[float], units: Sequence[tuple[str, ...]]) -> Estimated | None:
    if len(values) < 2 or len({unit for own in units for unit in own}) < 2:
        return None
    return intervals.by_unit(values, units)._asdict()
