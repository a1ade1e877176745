"""What the report shows of judges: what each says of the models, and how far it can be believed."""

from __future__ import annotations

from jokbo.evaluation.evaluation import Evaluation, JudgeResult
from jokbo.reporting import figures, headlines
from jokbo.reporting.figures import Chart
from jokbo.reporting.tables import PLUS_MINUS, Table, number, percent

PARTS = {"texts": "whole texts", "sentences": "two sentences of a text"}


def tables(evaluation: Evaluation) -> list[Table]:
    """Return what each judge but the first says, which stands among the headlines, and how often each is right."""
    found = []
    for name, judge in evaluation.judges.items():
        if name != evaluation.headline:
            found.append(_table(name, judge, evaluation))
        if judge.trust:
            found.append(_trust_table(name, judge))
    return found


def charts(evaluation: Evaluation) -> dict[str, list[Chart]]:
    """Return the charts of each judge, by the section they stand in: one of the shares, where it says what is good."""
    order = headlines.ordered(evaluation)
    return {
        f"judge-{name}": figures.judged_good(name, {model: judge.models[model] for model in order})
        if judge.probabilities
        else []
        for name, judge in evaluation.judges.items()
    }


def _table(name: str, judge: JudgeResult, evaluation: Evaluation) -> Table:
    return Table(
        f"judge-{name}",
        f"What {name} says of the same responses; 95% intervals in brackets",
        ["Model", "Mean score", *headlines.judged_columns(judge)],
        [
            [model, number(judge.models[model].score), *headlines.judged_cells(judge, model)]
            for model in headlines.ordered(evaluation)
        ],
    )


def _trust_table(name: str, judge: JudgeResult) -> Table:
    return Table(
        f"trust-{name}",
        f"How often {name} is right on held-out texts, with standard errors",
        ["Texts", "Right", "One answer", "Of texts"],
        [
            [
                f"{source}: {PARTS[part]}",
                f"{percent(found.right['value'])} {PLUS_MINUS} {100 * found.right['standard_error']:.1f}",
                percent(found.one_answer),
                number(found.right["units"]),
            ]
            for source, parts in judge.trust.items()
            for part, found in parts.items()
        ],
    )
