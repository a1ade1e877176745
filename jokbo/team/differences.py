"""What differs between two things that were made, and whether a difference of figures is more than chance.

The 95% interval of a difference of two independent estimates reaches as far as the root of the sum of the squares of
what theirs reach. What lies beyond it is a difference; a figure without an interval gets no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scipy.stats import t

from jokbo.team.facts import ASPECTS, Facts, Hashes, Made

NORMAL = 1_000_000  # degrees of freedom of an estimate that does not say over how many units it goes
HASHED = ("data", "code", "parents")  # aspects that are hashes


@dataclass(frozen=True)
class Difference:
    """One thing that differs. What one side has not is None."""

    aspect: str
    name: str
    left: Any
    right: Any
    stages: tuple[str, ...]  # in which it was found
    beyond: bool | None = None  # of a figure: whether it lies beyond the interval; None without one
    reach: float | None = None  # of the interval, to either side


@dataclass(frozen=True)
class Comparison:
    """Two things and all that differs between them."""

    left: str
    right: str
    found: list[Difference]
    unknown: Mapping[str, str]  # what could not be compared -> why


@dataclass(frozen=True)
class Figure:
    """A measured number, and how far its 95% interval reaches to either side; None without one."""

    value: float
    reach: float | None


def compare(left: Made, right: Made) -> Comparison:
    """Return what differs. Of a whole project that is held against one stage's work, that stage alone is compared."""
    pairs = list(_pairs(left, right))
    found: list[Difference] = []
    unknown: dict[str, str] = {}
    for stage, one, other in pairs:
        if one is None or other is None:
            found.append(Difference("stages", stage, one and "made", other and "made", (stage,)))
            continue
        for aspect in ASPECTS:
            what = f"{aspect} of {stage}" if len(pairs) > 1 else aspect
            ours, theirs = getattr(one, aspect), getattr(other, aspect)
            if aspect == "metrics" and ours and theirs and left.logged != right.logged:
                ours, theirs = ({key: own[key] for key in ours if key in theirs} for own in (ours, theirs))
            if ours is not None and theirs is not None:
                found += _METHODS.get(aspect, _values)(aspect, ours, theirs, stage)
                if aspect in HASHED and (unlike := _unlike(ours, theirs)):
                    unknown[what] = f"{', '.join(unlike)}: their hashes are of different kinds"
            elif ours is not None or theirs is not None:
                unknown[what] = f"nothing tells of it for {left.name if ours is None else right.name}"
    return Comparison(left.name, right.name, _joined(found), unknown)


def figures(metrics: Mapping[str, float]) -> dict[str, Figure]:
    """Return the figures among numbers with their intervals.

    An estimate `x` has x/value with x/standard_error and x/units, or with x/low and x/high; or it is x itself, with
    x_low and x_high.
    """
    taken: set[str] = set()
    found: dict[str, Figure] = {}

    def take(name: str, value: str, *others: str) -> None:
        found[name] = Figure(metrics[value], _reach(*(metrics.get(other) for other in others)))
        taken.update((value, *others))

    for name in metrics:
        if name.endswith("/value"):
            own = name.removesuffix("value")
            take(own[:-1], name, *(f"{own}{part}" for part in ("standard_error", "units", "low", "high")))
        elif f"{name}_low" in metrics and f"{name}_high" in metrics:
            take(name, name, f"{name}_standard_error", f"{name}_units", f"{name}_low", f"{name}_high")
    return found | {name: Figure(value, None) for name, value in metrics.items() if name not in taken}


def _reach(error: float | None, units: float | None, low: float | None, high: float | None) -> float | None:
    if error is not None:
        return float(t.ppf(0.975, max(1, units - 1) if units else NORMAL)) * error
    return None if low is None or high is None else (high - low) / 2


def _pairs(left: Made, right: Made) -> Iterator[tuple[str, Facts | None, Facts | None]]:
    if left.whole == right.whole and not left.whole:
        (one,), (other,) = left.stages, right.stages
        yield one if one == other else f"{one}, {other}", left.stages[one], right.stages[other]
        return
    every = {**left.stages, **right.stages}
    for side in (left, right):
        if not side.whole:
            every = side.stages
    for stage in every:
        yield stage, left.stages.get(stage), right.stages.get(stage)


def _values(
    aspect: str, left: Mapping[str, Any], right: Mapping[str, Any], stage: str
) -> Iterable[Difference]:
    for name in {**left, **right}:
        if name not in left or name not in right or str(left[name]) != str(right[name]):
            yield Difference(aspect, name, left.get(name), right.get(name), (stage,))


def _of_hashes(
    aspect: str, left: Mapping[str, Hashes], right: Mapping[str, Hashes], stage: str
) -> Iterable[Difference]:
    unlike = _unlike(left, right)
    for name in {**left, **right}:
        one, other = left.get(name, {}), right.get(name, {})
        kind = next((kind for kind in one if kind in other), next(iter({**one, **other})))
        if name not in unlike and one.get(kind) != other.get(kind):
            yield Difference(aspect, name, one.get(kind), other.get(kind), (stage,))


def _unlike(left: Mapping[str, Hashes], right: Mapping[str, Hashes]) -> list[str]:
    """Return the names that both sides know, but by hashes that say nothing of each other."""
    return [name for name in left if name in right and not left[name].keys() & right[name].keys()]


def _of_figures(
    aspect: str, left: Mapping[str, float], right: Mapping[str, float], stage: str
) -> Iterable[Difference]:
    one, other = figures(left), figures(right)
    for name in {**one, **other}:
        ours, theirs = one.get(name), other.get(name)
        if ours is None or theirs is None:
            yield Difference(aspect, name, ours and ours.value, theirs and theirs.value, (stage,))
        elif ours.value != theirs.value:
            reaches = [side.reach for side in (ours, theirs) if side.reach is not None]
            reach = math.hypot(*reaches) if len(reaches) == 2 else None
            beyond = None if reach is None else abs(ours.value - theirs.value) > reach
            yield Difference(aspect, name, ours.value, theirs.value, (stage,), beyond, reach)


_METHODS: dict[str, Callable[..., Iterable[Difference]]] = {
    **dict.fromkeys(HASHED, _of_hashes),
    "metrics": _of_figures,
}


def _joined(found: Iterable[Difference]) -> list[Difference]:
    """Return the differences with each once, however many stages found it."""
    joined: dict[Any, Difference] = {}
    for each in found:
        # a figure is its stage's own
        own = each.stages if each.aspect == "metrics" else ()
        key = each.aspect, each.name, str(each.left), str(each.right), own
        before = joined.get(key)
        joined[key] = replace(each, stages=(*before.stages, *each.stages)) if before else each
    return list(joined.values())
