"""What differs between two things that were made, and whether a difference of figures is more than chance.

What lies beyond the interval of the difference (estimates.py) is one; without an interval there is no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jokbo.runtime.errors import InputError
from jokbo.team.comparing.estimates import figures_of_seeds, reach_of_difference
from jokbo.team.comparing.facts import ASPECTS, HASHED, Facts, Hashes, Made


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
    seeds: tuple[int, int] | None = (
        None  # of a figure that is a mean over seeds on a side: how many each side has
    )


@dataclass(frozen=True)
class Comparison:
    """Two things and all that differs between them."""

    left: str
    right: str
    found: list[Difference]
    unknown: Mapping[str, str]  # what could not be compared -> why


def compare(left: Made, right: Made) -> Comparison:
    """Return what differs. Of a whole project that is held against some stages' work, those alone are compared.

    InputError if the two have no stage in common.
    """
    pairs = list(_pairs(left, right))
    if not pairs:
        sides = " and ".join(f"{side.name} ({', '.join(side.stages)})" for side in (left, right))
        raise InputError(f"{sides}: they have no stage in common")
    found: list[Difference] = []
    unknown: dict[tuple[str, str], list[str]] = {}  # aspect and why, in which stages
    for stage, one, other in pairs:
        if one is None or other is None:
            found.append(Difference("stages", stage, one and "made", other and "made", (stage,)))
            continue
        for aspect in ASPECTS:
            ours, theirs = getattr(one, aspect), getattr(other, aspect)
            if aspect == "metrics" and ours and theirs:
                found += _of_figures(ours, theirs, stage, shared=left.logged != right.logged)
            elif ours is not None and theirs is not None:
                found += _METHODS.get(aspect, _values)(aspect, ours, theirs, stage)
                if aspect in HASHED and (unlike := _unlike(ours, theirs)):
                    why = f"{', '.join(unlike)}: their hashes are of different kinds"
                    unknown.setdefault((aspect, why), []).append(stage)
            elif ours is not None or theirs is not None:
                why = f"nothing tells of it for {left.name if ours is None else right.name}"
                unknown.setdefault((aspect, why), []).append(stage)
    return Comparison(left.name, right.name, _joined(found), _said(unknown, len(pairs) > 1))


def _said(unknown: Mapping[tuple[str, str], list[str]], several: bool) -> dict[str, str]:
    """Return what could not be compared, and why."""
    return {
        f"{aspect} of {', '.join(stages)}" if several else aspect: why
        for (aspect, why), stages in unknown.items()
    }


def _pairs(left: Made, right: Made) -> Iterator[tuple[str, Facts | None, Facts | None]]:
    if left.whole == right.whole and not left.whole:
        if len(left.stages) == len(right.stages) == 1:
            (one,), (other,) = left.stages, right.stages
            yield one if one == other else f"{one}, {other}", left.stages[one], right.stages[other]
            return
        every = [stage for stage in left.stages if stage in right.stages]
    elif left.whole and right.whole:
        every = [*{**left.stages, **right.stages}]
    else:
        every = [*(right if left.whole else left).stages]
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
    left: Sequence[Mapping[str, float]], right: Sequence[Mapping[str, float]], stage: str, *, shared: bool
) -> Iterable[Difference]:
    """Yield the figures that differ; with `shared`, of those alone that both sides have."""
    one, other = figures_of_seeds(left), figures_of_seeds(right)
    for name in {**one, **other}:
        ours, theirs = one.get(name), other.get(name)
        if ours is None or theirs is None:
            if not shared:
                yield Difference("metrics", name, ours and ours.value, theirs and theirs.value, (stage,))
        elif ours.value != theirs.value:
            reach = reach_of_difference(ours, theirs)
            beyond = None if reach is None else abs(ours.value - theirs.value) > reach
            seeds = (ours.seeds, theirs.seeds)
            counts = seeds if max(seeds) > 1 else None
            yield Difference("metrics", name, ours.value, theirs.value, (stage,), beyond, reach, counts)


_METHODS: dict[str, Callable[..., Iterable[Difference]]] = dict.fromkeys(HASHED, _of_hashes)


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
