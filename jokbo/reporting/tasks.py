"""What the report shows of labelled tasks: tables, confusion matrices, and accuracy over the number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Rectangle

from jokbo.finetuning.tasks.results import CurvePoint, SplitScores, TaskResult
from jokbo.reporting.figures import ACCENT, INK, MUTED, SECOND, Chart, panel
from jokbo.reporting.tables import DASH, Table, percent, share

CLASSIFIERS = {
    "pretrained": "Pretrained, then fine-tuned (GPT-1, loss L3)",
    "scratch": "The same network, from scratch",
    "naive_bayes": "Naive Bayes on words and word pairs",
}
COLOURS = {"pretrained": ACCENT, "scratch": SECOND, "naive_bayes": MUTED}
WRITTEN = 12  # most classes whose counts are written into a confusion matrix
DARKEST = 0.6  # of a cell: its count must stay legible

Tasks = Mapping[str, TaskResult]


def tables(tasks: Tasks) -> list[Table]:
    """Return a table of all classifiers, one of all classes, and a table for each curve."""
    return [
        Table(
            "classification",
            "Right on rows that no training saw; 95% intervals in brackets",
            ["Task", "Classifier", "Rate", "Validation accuracy", "Test accuracy", "Test macro F1"],
            [
                [
                    name,
                    CLASSIFIERS[each],
                    f"{found.learning_rate:g}" if found.learning_rate else DASH,
                    _interval(found.validation.accuracy),
                    _interval(found.test.accuracy),
                    _interval(found.test.macro_f1),
                ]
                for name, task in tasks.items()
                for each, found in task.classifiers.items()
            ],
        ),
        Table(
            "classes",
            "Rows of each class, and how well the pretrained network tells it on the test rows",
            ["Task", "Class", "Training", "Validation", "Test", "Precision", "Recall", "F1"],
            [row for name, task in tasks.items() for row in _classes(name, task)],
        ),
        *(
            Table(
                f"curve-{name}",
                f"{name}: test accuracy by the number of labels, mean \N{PLUS-MINUS SIGN} standard error over seeds",
                ["Labels", *(CLASSIFIERS[each] for each in task.curve[0].classifiers)],
                [[f"{point.labels:,}", *_values(point)] for point in task.curve],
            )
            for name, task in tasks.items()
            if task.curve
        ),
    ]


def charts(tasks: Tasks) -> list[Chart]:
    """Return the confusion matrix of each pretrained network on test rows, and the curves that there are."""
    found = []
    for name, task in tasks.items():
        found.append(_confusion(name, task.classes, task.classifiers["pretrained"].test))
        if task.curve:
            found.append(_curve(name, task.curve))
    return found


def _classes(name: str, task: TaskResult) -> list[list[str]]:
    test = task.classifiers["pretrained"].test
    counts_CC = np.array(test.confusion)
    right_C, said_C, there_C = np.diagonal(counts_CC), counts_CC.sum(0), counts_CC.sum(1)
    return [
        [
            name,
            each,
            *(f"{task.rows[split][i]:,}" for split in ("train", "validation", "test")),
            percent(right_C[i] / said_C[i]) if said_C[i] else DASH,
            percent(right_C[i] / there_C[i]) if there_C[i] else DASH,
            DASH if score is None else percent(score),
        ]
        for i, (each, score) in enumerate(zip(task.classes, test.f1, strict=True))
    ]


def _confusion(name: str, classes: Sequence[str], scores: SplitScores) -> Chart:
    """Return a matrix of shares of each class, by the predicted one; counts are written into it if they fit."""
    with panel("predicted class", "class") as (figure, axes):
        for i, row in enumerate(scores.confusion):
            for j, count in enumerate(row):
                part = count / max(sum(row), 1)
                axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=SECOND, alpha=DARKEST * part, lw=0))
                if len(classes) <= WRITTEN:
                    axes.annotate(f"{count:,}", (j, i), ha="center", va="center", color=INK, fontsize=9)
        axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5))
        axes.grid(False)
        if len(classes) <= WRITTEN:
            shown = [each if len(each) <= 12 else f"{each[:11]}\N{HORIZONTAL ELLIPSIS}" for each in classes]
            axes.set_yticks(range(len(classes)), shown)
            axes.set_xticks(range(len(classes)), shown, rotation=30 if len(classes) > 3 else 0)
    right = share(scores.accuracy["value"])
    alt = f"Confusion matrix of {name} on its test rows, {len(classes)} classes: {right} are on the diagonal."
    return Chart(f"confusion-{name}", f"{name}: which class is taken for which", alt, figure)


def _curve(name: str, points: Sequence[CurvePoint]) -> Chart:
    counts = [point.labels for point in points]
    with panel("labels", "test accuracy") as (figure, axes):
        for each in points[0].classifiers:
            found = [point.classifiers[each] for point in points]
            axes.errorbar(
                counts,
                [value.mean for value in found],
                yerr=[value.standard_error for value in found],
                color=COLOURS[each],
                capsize=2,
                label=each.replace("_", " "),
            )
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda part, _: f"{part:.0%}")
    ends = ", ".join(f"{each} {percent(value.mean)}" for each, value in points[-1].classifiers.items())
    alt = f"Test accuracy of {name} over the number of labels; with {counts[-1]:,}: {ends}."
    return Chart(f"curve-{name}", f"{name}: accuracy by labels", alt, figure)


def _interval(found: Mapping[str, float]) -> str:
    low, high = (f"{100 * found[end]:.0f}" for end in ("low", "high"))
    return f"{percent(found['value'])} ({low}{DASH}{high})"


def _values(point: CurvePoint) -> list[str]:
    return [
        f"{percent(value.mean)} \N{PLUS-MINUS SIGN} {100 * value.standard_error:.1f}"
        for value in point.classifiers.values()
    ]
