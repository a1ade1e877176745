"""What `python -m benchmarks.shots` left, as tables, claims and a figure of docs/results.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from jokbo.comparison import verdicts
from jokbo.comparison.verdicts import UNMEASURED, Difference
from jokbo.prompting import report, scores, shots
from jokbo.prompting.shots import Outcome
from jokbo.reporting import figures
from jokbo.reporting.tables import Table, large

ROWS = Path("docs/results/shots.jsonl")
FIGURE = Path("docs/results/shots.svg")
TASKS = {
    "sentiment": (
        "the sentiment of a sentence of Rotten Tomatoes",
        (scores.SUM, scores.UNCONDITIONAL, scores.CALIBRATED),
    ),
    "replies": (
        "which of four replies is the one to a question of chatterbot-corpus",
        (scores.SUM, scores.TOKEN, scores.UNCONDITIONAL),
    ),
}
MOST = 16  # examples
MODELS, SMALL, RANDOM = "smollm2", "base", "random"
Cell = tuple[str, int, str]  # model, examples, score
LEGEND = """Accuracy, %, with 95% intervals over rows and seeds of examples. Shown is how many of the examples the
context had room for, on average. Scores: sum of an option's log likelihood; token, its mean; unconditional, less what
the option has by itself; calibrated, over what it has after questions without content. Examples of the sentiment are
balanced."""
RULE = """A difference is paired by row. Its standard error is of resampled rows and seeds; where there is one seed,
of rows alone, which is too small. Verdicts are corrected for their number (Holm 1979), at a level of 5% for all of
them together. SmolLM2 is larger than the default run's models and has read other and more text, so what is said of
size is said of both."""


@dataclass(frozen=True)
class Claim:
    """That a weighted sum of accuracies is above zero."""

    says: str
    paper: str
    task: str
    parts: Sequence[tuple[float, Cell]]


def _gain(model: str, score: str) -> list[tuple[float, Cell]]:
    return [(1, (model, MOST, score)), (-1, (model, 0, score))]


def _claims() -> list[Claim]:
    gpt2, gpt3 = "Radford et al. 2019, section 3", "Brown et al. 2020"
    found = []
    for task in TASKS:
        found += [
            Claim(
                "Pretraining alone teaches a task: without examples, over random weights",
                gpt2,
                task,
                [(1, (MODELS, 0, scores.SUM)), (-1, (RANDOM, 0, scores.SUM))],
            ),
            Claim(
                "Without examples a larger model is better, over base",
                f"{gpt2}, figure 1",
                task,
                [(1, (MODELS, 0, scores.SUM)), (-1, (SMALL, 0, scores.SUM))],
            ),
            Claim(
                f"Examples in the prompt help: {MOST} over none",
                f"{gpt3}, section 3",
                task,
                _gain(MODELS, scores.SUM),
            ),
            Claim(
                f"A larger model learns more from examples: its gain from {MOST}, over that of base",
                f"{gpt3}, section 3, figure 3.1",
                task,
                [*_gain(MODELS, scores.SUM), *((-weight, cell) for weight, cell in _gain(SMALL, scores.SUM))],
            ),
            Claim(
                "Against its unconditional likelihood an option is scored better than a token",
                f"{gpt3}, section 2.4",
                task,
                [(1, (MODELS, 0, scores.UNCONDITIONAL)), (-1, (MODELS, 0, scores.TOKEN))],
            ),
        ]
    few = (0, 1, 4)
    calibrated = [
        (sign / len(few), (MODELS, k, score))
        for sign, score in ((1, scores.CALIBRATED), (-1, scores.SUM))
        for k in few
    ]
    found.append(
        Claim(
            "Calibration helps, on average of 0, 1 and 4 examples",
            "Zhao et al. 2021, section 5, table 1",
            "sentiment",
            calibrated,
        )
    )
    return found


def rows_there() -> list[dict[str, Any]]:
    """Return the rows that were left."""
    text = ROWS.read_text("utf-8") if ROWS.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def section() -> str:
    """Return the tables, the claims and the figure, which is written beside the rows."""
    rows = rows_there()
    if not rows:
        return f"Not measured yet: `python -m benchmarks.shots` does, and leaves {ROWS}."
    summed = {
        key: shots.summary([Outcome.of(row) for row in own])
        for key, own in groupby(sorted(rows, key=_by), key=_by)
    }
    known = {_by(row): row for row in rows}
    draw(summed, known)
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    seconds = sum(row["seconds"] for row in rows)
    asked = {task: len(row["shown"]) for (task, _), row in known.items()}
    parts = [
        f"`python -m benchmarks.shots`: {len(rows)} rows in {seconds / 60:.0f} minutes, on {machines}. "
        f"{', '.join(f'{count} questions of {task}' for task, count in asked.items())}.",
        f"![Accuracy against examples]({FIGURE.relative_to('docs')})",
    ]
    for task, (says, shown) in TASKS.items():
        own = {key: found for key, found in summed.items() if key[0] == task}
        if own:
            parts += [f"{task.title()}: {says}.", _table(own, known, shown).markdown(3).strip()]
    return "\n\n".join([*parts, LEGEND, _claimed(rows), RULE])


def _by(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["task"], row["system"]


def _table(
    summed: Mapping[tuple[str, str], Any], known: Mapping[tuple[str, str], Any], shown: Sequence[str]
) -> Table:
    lines = []
    for key, found in sorted(summed.items(), key=lambda each: known[each[0]]["parameters"]):
        model = known[key]
        for row in found:
            lines.append(
                [
                    f"{model['title']} ({large(model['parameters'])})",
                    model["pretrained"],
                    f"{row['k']}, {row['seeds']} seeds" if row["seeds"] > 1 else str(row["k"]),
                    f"{row['shown']:.1f}",
                    *(report.interval(row["scores"][score]) for score in shown),
                ]
            )
    majority = next(iter(known[key] for key in summed))["majority"]
    lines.append(["the commonest answer", "", "", "", f"{100 * majority:.1f}", *[""] * (len(shown) - 1)])
    return Table(
        "shots", "", ["Model", "Pretrained on", "Examples", "Shown", *map(str.capitalize, shown)], lines
    )


def _claimed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the papers' claims with the difference that each is about."""
    found = [(claim, difference(rows, claim)) for claim in _claims()]
    measured = [each for _, each in found if each is not None]
    corrected = iter(verdicts.holm([each.chance for each in measured]))
    lines = []
    for claim, each in found:
        said = UNMEASURED if each is None else verdicts.judged(each, next(corrected))
        lines.append([claim.says, claim.paper, claim.task, "" if each is None else str(each), said])
    return Table("claims", "", ["Claim", "Paper", "Task", "Difference", "Verdict"], lines).markdown(5).strip()


def difference(rows: Sequence[Mapping[str, Any]], claim: Claim) -> Difference | None:
    """Return a claim's weighted sum of accuracies with its standard error; None where rows are not there."""
    cells = []
    for weight, (model, k, score) in claim.parts:
        own = [
            Outcome.of(row).right[score]
            for row in rows
            if (*_by(row), row["settings"]["k"]) == (claim.task, model, k)
        ]
        if not own:
            return None
        cells.append(weight * np.array(own, dtype=float))
    seeds = min((len(each) for each in cells if len(each) > 1), default=1)  # that all have
    total = sum(each[:seeds] for each in cells)  # what is asked without examples has one row for all seeds
    drawn = scores.resampled(np.asarray(total), samples=shots.RESAMPLES, seed=shots.RESAMPLING)
    return Difference(float(np.mean(total)), float(drawn.std()))


def draw(summed: Mapping[tuple[str, str], Any], known: Mapping[tuple[str, str], Any]) -> None:
    """Write the figure: a panel each task, a line each model, by the sum alone and by the last of the task's scores."""
    tasks = [task for task in TASKS if any(key[0] == task for key in summed)]
    with matplotlib.rc_context({**figures.STYLE, "svg.hashsalt": "shots"}):
        figure = figures.Figure(figsize=(4.6 * len(tasks), 3.6), layout="constrained")
        for number, task in enumerate(tasks, start=1):
            axes = figure.add_subplot(1, len(tasks), number)
            own = [(key, found) for key, found in summed.items() if key[0] == task]
            for colour, (key, found) in zip(figures.CYCLE, own, strict=False):
                for score, style in ((scores.SUM, "-"), (TASKS[task][1][-1], ":")):
                    accuracy = np.array(
                        [[*map(row["scores"][score].get, ("value", "low", "high"))] for row in found]
                    )
                    places = range(len(found))
                    axes.plot(
                        places,
                        100 * accuracy[:, 0],
                        style,
                        color=colour,
                        label=known[key]["title"] if style == "-" else None,
                    )
                    if style == "-":
                        axes.fill_between(
                            places,
                            100 * accuracy[:, 1],
                            100 * accuracy[:, 2],
                            color=colour,
                            alpha=0.12,
                            linewidth=0,
                        )
            axes.axhline(100 * known[own[0][0]]["majority"], color=figures.MUTED, linewidth=1, linestyle="--")
            longest = max((found for _, found in own), key=len)
            axes.set_xticks(range(len(longest)), [str(row["k"]) for row in longest])
            axes.set(xlabel="examples in the prompt", ylabel="accuracy, %", title=task)
            if number == 1:
                axes.legend(frameon=False, fontsize=8)
        figure.supxlabel(
            "solid: sum; dotted: calibrated (sentiment), unconditional (replies); dashed: the commonest answer",
            fontsize=8,
        )
        FIGURE.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(FIGURE, format="svg", metadata={"Date": None})
