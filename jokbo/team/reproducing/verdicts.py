"""What a rerun of a stage gave, against the run that it repeats: the same, nearly so, or where it left it and why.

A cause is named only where the records of both runs differ in something that can have done it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jokbo.runtime import ancestry
from jokbo.runtime.run_record import RunRecord
from jokbo.runtime.tracking import flat
from jokbo.team.comparing.estimates import Figure, figures, reach_of_difference
from jokbo.team.comparing.facts import numbers

TOLERANCE = 0.01  # of a metric that has no interval, as a share of it
# what holds the environment or the time, and so may differ though nothing else does
VARYING = (ancestry.SUFFIX, "reports/report.html")
KINDS = ("batch", "loss", "parameters")  # in a mark, in the order in which a step makes them
OF_OPTIMIZER = (
    "learning_rate",
    "gradient_norm",
)  # columns of a training's curves that say nothing of its loss
UNKNOWN = "unknown"


class Outcome(StrEnum):
    IDENTICAL = "identical"
    SAME = "same within tolerance"
    DIFFERS = "differs"


@dataclass(frozen=True)
class Where:
    """Where a rerun of a training left it: a step, or one of several, and what differed first."""

    training: str
    first: int
    last: int
    what: str  # of KINDS; or "loss or parameters", where none of the steps before was marked

    def __str__(self) -> str:
        steps = f"step {self.last}" if self.first == self.last else f"steps {self.first} to {self.last}"
        return f"{self.training}: {steps}, first in {self.what}"


@dataclass(frozen=True)
class Differences:
    """What two records of runs say differently, a line each."""

    data: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [
            f"{kind}: {line}"
            for kind in ("data", "parameters", "code", "environment")
            for line in getattr(self, kind)
        ]


@dataclass(frozen=True)
class Verdict:
    """What came of rerunning one stage."""

    stage: str
    outcome: Outcome
    outs: list[str]  # that differ
    metrics: list[str]  # beyond their tolerance
    where: Where | None  # of a training whose trail is known for both
    cause: list[str]


@dataclass(frozen=True)
class Found:
    """What one run of a stage left, to be held against another's."""

    record: RunRecord
    trails: Mapping[str, list[list[Any]]]
    metrics: Mapping[str, Any] | None  # of metrics/NAME.json; None: not to be had
    curves: Path | None  # plots/NAME.csv


def judged(before: Found, now: Found) -> Verdict:
    """Return what a rerun is, `before` being the run that it repeats."""
    compared = {path: md5 for path, md5 in before.record.outs.items() if not path.endswith(VARYING)}
    outs = sorted(path for path, md5 in compared.items() if now.record.outs.get(path) != md5)
    if not outs:
        return Verdict(before.record.stage, Outcome.IDENTICAL, [], [], None, [])
    beyond = ["its metrics are not to be had"]
    if before.metrics is not None and now.metrics is not None:
        beyond = differing_metrics(before.metrics, now.metrics)
    where = departure(before, now)
    found = differences(before.record, now.record)
    outcome = Outcome.DIFFERS if beyond else Outcome.SAME
    return Verdict(before.record.stage, outcome, outs, beyond, where, causes(found, where) or [UNKNOWN])


def causes(found: Differences, where: Where | None) -> list[str]:
    """Return those of the recorded differences that can have led to what differed first."""
    if where and where.what == "batch":  # neither the processor nor its threads make a batch
        packages = [line for line in found.environment if line.startswith("packages.")]
        found = Differences(found.data, found.parameters, found.code, packages)
    return found.lines()


def differences(before: RunRecord, now: RunRecord) -> Differences:
    """Return what the records of a run and of its rerun say differently."""
    deps = [path for path in {**before.deps, **now.deps} if before.deps.get(path) != now.deps.get(path)]
    environments = (record.environments[-1:] for record in (before, now))
    return Differences(
        data=[f"{path} is another" for path in deps if not ancestry.is_code(path)],
        parameters=_differing(before.params, now.params),
        code=[path for path in deps if ancestry.is_code(path)],
        environment=of_environments(*((found[0] if found else {}) for found in environments)),
    )


def of_environments(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what two environments have in common to say, and say differently, a line each."""
    shared = {name: value for name, value in before.items() if name in now}
    return _differing(shared, {name: now[name] for name in shared})


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = (
        {name: value for name, value in flat(tree).items() if value not in ({}, [])} for tree in (before, now)
    )
    return [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def differing_metrics(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the metrics that are not the same within their tolerance, a line each.

    Figures with errors are the same if the 95% interval of their difference holds zero; others if they differ by at
    most TOLERANCE of the larger.
    """
    old, new = _told(before), _told(now)
    lines = [f"{name} is not there" for name in {**old, **new} if (name in old) != (name in new)]
    for name, one in old.items():
        if name in new and not _alike(one, new[name]):
            lines.append(f"{name}: {_shown(one)} -> {_shown(new[name])}")
    return lines


def _told(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures among metrics, and what else there is but details, such as a confusion matrix, of which the
    figures tell."""
    others = {
        name: value for name, value in flat(metrics, "/").items() if isinstance(value, str | bool | None)
    }
    return figures(numbers(metrics)) | others


def _alike(one: Any, other: Any) -> bool:
    if not (isinstance(one, Figure) and isinstance(other, Figure)):
        return one == other
    reach = reach_of_difference(one, other)
    if reach is None:
        reach = TOLERANCE * max(abs(one.value), abs(other.value))
    return abs(one.value - other.value) <= reach


def _shown(value: Any) -> str:
    return f"{value.value:.6g}" if isinstance(value, Figure) else str(value)


def departure(before: Found, now: Found) -> Where | None:
    """Return where the first training that left its trail did so; None where no trail tells."""
    for training, marks in before.trails.items():
        other = {step: mark for step, *mark in now.trails.get(training, [])}
        same = 0
        for step, *mark in marks:
            if step in other and mark != other[step]:
                what = next(
                    kind for kind, *two in zip(KINDS, mark, other[step], strict=True) if two[0] != two[1]
                )
                return _narrowed(Where(training, same + 1, step, what), before.curves, now.curves)
            same = step if step in other else same
    return None


def _narrowed(where: Where, before: Path | None, now: Path | None) -> Where:
    """Return the same, with the step at which the curves, which have every step, first differ between two marks."""
    if where.first == where.last or where.what == "parameters" or before is None or now is None:
        return where
    for old, new in zip_longest(_rows(before, where), _rows(now, where)):
        if old is None or new is None:
            break
        step, columns = int(old["step"]), {name for name in old if old[name] != new.get(name)}
        if columns and columns <= {*OF_OPTIMIZER} and where.what == "loss":
            return Where(where.training, step, step, "parameters")
        if columns:
            # the weights of the step before it are known to be the same if that was marked
            sure = where.what == "batch" or step == where.first
            return Where(where.training, step, step, where.what if sure else "loss or parameters")
    return where


def _rows(curves: Path, where: Where) -> Iterator[Mapping[str, str]]:
    with curves.open(newline="") as file:
        for row in csv.DictReader(file):
            if (
                row["part"] == where.training.rpartition("/")[2]
                and where.first <= int(row["step"]) <= where.last
            ):
                yield row


def worst(verdicts: Sequence[Verdict]) -> Outcome:
    """Return the outcome of all stages together."""
    return max((each.outcome for each in verdicts), key=list(Outcome).index)
