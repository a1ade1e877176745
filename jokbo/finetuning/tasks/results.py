"""What the stage `tasks` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jokbo.runtime.files import Saved


@dataclass(frozen=True)
class SplitScores:
    """A classifier on the rows of a split."""

    accuracy: Mapping[str, float]  # an intervals.Interval, by field
    macro_f1: Mapping[str, float]
    f1: Sequence[float | None]  # of each class; None for one that no row has and that is never predicted
    confusion: Sequence[Sequence[int]]  # rows by their class, and by the predicted one


@dataclass(frozen=True)
class Classifier:
    """A classifier, on rows that it has not learned from."""

    validation: SplitScores
    test: SplitScores
    learning_rate: float | None = None  # that was chosen; None if it has none


@dataclass(frozen=True)
class CurveValue:
    """Accuracy on test rows over seeds."""

    mean: float
    standard_error: float
    learning_rate: float | None  # that was chosen; None if it has none


@dataclass(frozen=True)
class CurvePoint:
    labels: int  # training rows
    classifiers: Mapping[str, CurveValue]


@dataclass(frozen=True)
class TaskResult:
    """A labelled task: `classifiers` are `pretrained` and, where there is one, `scratch` and `naive_bayes`."""

    kind: str
    classes: Sequence[str]
    rows: Mapping[str, Sequence[int]]  # by split, of each class
    classifiers: Mapping[str, Classifier]
    curve: Sequence[CurvePoint]


@dataclass(frozen=True)
class Tasks(Saved):
    """The labelled tasks."""

    STAGE = "tasks"
    tasks: Mapping[str, TaskResult]
