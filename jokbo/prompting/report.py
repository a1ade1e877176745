"""What was found of prompts, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jokbo.prompting import scores
from jokbo.prompting.task import Task
from jokbo.reporting import markdown
from jokbo.reporting.tables import DASH, number

MEANING = {
    scores.SUM: "the likeliest option",
    scores.TOKEN: "a token",
    scores.CHARACTER: "a character",
    scores.UNCONDITIONAL: "against the option by itself",
    scores.CALIBRATED: "calibrated without content",
}


def interval(found: Mapping[str, float]) -> str:
    """Return an accuracy, %, and its 95% interval."""
    return f"{100 * found['value']:.1f} ({100 * found['low']:.1f} to {100 * found['high']:.1f})"


def of_shots(rows: Sequence[Mapping[str, Any]], task: Task) -> str:
    """Return a table of accuracies, a line each number of examples, and what was left out."""
    names = list(rows[0]["scores"])
    header = ["examples", "seeds", *(f"{name}: {MEANING[name]}" for name in names)]
    lines = [
        [str(row["k"]), str(row["seeds"]), *(interval(row["scores"][name]) for name in names)] for row in rows
    ]
    majority = scores.majority([row.right for row in task.rows])
    return "\n".join(
        [
            markdown.table(header, lines, 2),
            "",
            f"Accuracy on {len(task.rows):,} rows, %, with 95% intervals over rows and seeds. "
            f"The commonest answer alone: {100 * majority:.1f}%.",
            *left_out(rows),
        ]
    )


def left_out(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for all that the context had no room for."""
    found = []
    for row in rows:
        if row["short"]:
            few = f"{row['short']:,.0f} of {row['rows']:,} questions had fewer than {row['k']} examples before them"
            found.append(f"{few}, as no more fit into the context: {row['shown']:.1f} on average.")
    if cut := max(row["cut"] for row in rows):
        found.append(f"{cut:,} questions are longer than the context, and lost their beginning.")
    return found


def of_tasks(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of the harness's scores, a line each metric of a task."""
    lines = []
    for name, own in found.items():
        for metric, score in own["scores"].items():
            error = DASH if score["standard_error"] is None else f"{score['standard_error']:.4f}"
            value = f"{score['value']:.4f}" if abs(score["value"]) < 1000 else number(score["value"])
            lines.append(
                [name, metric, value, error, str(own["shots"]), f"{own['examples']:,}", f"{own['cut']:,}"]
            )
    header = ["task", "metric", "value", "standard error", "shots", "examples", "cut"]
    return markdown.table(header, lines, 2)
