"""What is told of the classifiers of a labelled task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jokbo.finetuning.tasks import confusion
from jokbo.finetuning.tasks.labelled import SPLITS, Labelled
from jokbo.finetuning.tasks.results import Classifier, CurvePoint, SplitScores, TaskResult
from jokbo.finetuning.tasks.tuning import Task, Tuned, bayes, predicted

HELD_OUT = ("validation", "test")


def of_network(tuned: Tuned, task: Task, seed: int) -> Classifier:
    """Return the scores of a network. The seed is that of the intervals' resamples."""
    said = {split: predicted(tuned.network, task, split) for split in HELD_OUT}
    validation, test = _splits(task.data, said, seed)
    return Classifier(validation, test, tuned.rate)


def of_naive_bayes(task: Task, seed: int) -> Classifier:
    """Return the scores of naive Bayes on the same texts."""
    validation, test = _splits(task.data, bayes(task.data, HELD_OUT), seed)
    return Classifier(validation, test)


def result(task: Task, classifiers: Mapping[str, Classifier], curve: Sequence[CurvePoint]) -> TaskResult:
    """Return all that is told of a task."""
    data = task.data
    rows = {split: data.labels[split].bincount(minlength=len(data.classes)).tolist() for split in SPLITS}
    return TaskResult(task.settings.kind, data.classes, rows, classifiers, curve)


def _splits(data: Labelled, predicted: Mapping[str, Sequence[int]], seed: int) -> list[SplitScores]:
    """Return the scores on the splits of HELD_OUT."""
    found = []
    for split in HELD_OUT:
        counts_CC = confusion.counted(data.labels[split].tolist(), predicted[split], len(data.classes))
        measures = (confusion.accuracy, confusion.macro_f1)
        accuracy, macro_f1 = (confusion.interval(measure, counts_CC, seed)._asdict() for measure in measures)
        of_class = [None if score != score else score for score in confusion.f1(counts_CC).tolist()]
        found.append(SplitScores(accuracy, macro_f1, of_class, counts_CC.tolist()))
    return found
