"""The report of a run: one HTML file that needs nothing beside it, and the tables and figures that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jokbo.evaluation.evaluation import BenchmarkScore, Evaluation, Scores, Student
from jokbo.finetuning.tasks.results import TaskResult
from jokbo.reporting import figures, headlines, judges, page, tasks
from jokbo.reporting.data_card import DataCard
from jokbo.reporting.figures import Chart
from jokbo.reporting.headlines import Made
from jokbo.reporting.tables import PLUS_MINUS, Table, number, percent
from jokbo.runtime import kept
from jokbo.runtime.ancestry import Record

SAMPLES_SHOWN = 12
THIS_RUN = "this run"
MORE_COLUMNS = [
    "Model",
    "Reward",
    "KL, nats",
    "KL a token",
    "Distinct-1",
    "Distinct-2",
    "End, nats",
    "Nats a token below base",
]
Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Findings:
    """What a run found out; see `render` for what is in each part."""

    evaluation: Evaluation
    samples: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, Numbers]
    tasks: Mapping[str, TaskResult]
    curves: Mapping[str, Sequence[Mapping[str, float]]]
    ancestry: Mapping[str, tuple[str, Record]]
    aligned: str
    timings: Mapping[str, float]
    speeds: Mapping[str, Mapping[str, float]]
    card: DataCard
    profiles: Mapping[str, Mapping[str, Any]]
    made: Made


def render(findings: Findings) -> str:
    """Return the report as one HTML text; the same findings give the same bytes.

    `findings.evaluation` is what `evaluate` found (evaluation.results).
    `findings.samples` are the rows of samples.jsonl: `prompt`; each model's continuation under its name; `judges`,
    each judge's score of each model's. `metrics` are metrics/NAME.json by NAME, of which these are
    read by name: preferences `labellers`; reward `human`, or of DPO align `held_out`, on held-out comparisons:
    `comparisons` of `texts`, `accuracy`, `accuracy_by_source`, `calibration_error` (estimates by text), `calibration`
    (rows of calibration.Bin); align `kind`. Stages that were left out have none. `tasks` is what came of each labelled
    task, by name. `curves` are the rows of plots/NAME.csv by NAME, or NAME/PART where it holds several trainings;
    `ancestry` the records of the models by the hash of their weights, `aligned` that of the final one. `timings`,
    seconds by stage, and `speeds`, tokens a second `reading` and `writing` of the supervised and of the distilled
    model, are of this machine, and empty if unknown. `card` is the data card; `profiles`, by name, the metrics of
    `prepare`, `tokenize` and `pretrain` of other corpora and, where known, `measured`: `date` and `machine`.
    `made` is of this report.
    """
    return page.render(
        "reporting/report.html.jinja",
        verdict=headlines.verdict(findings.evaluation),
        facts=headlines.facts(findings),
        align=findings.metrics["align"]["kind"],
        scored="reward model" if findings.metrics["reward"] else "aligned model",
        labellers=headlines.labellers(findings.metrics),
        cards=headlines.cards(findings),
        evaluation=findings.evaluation,
        tables={table.name: table for table in tables(findings)},
        charts=charts(findings),
        samples=findings.samples[:SAMPLES_SHOWN],
        notes=headlines.MODELS,
        timings=findings.timings,
        longest=max(findings.timings.values(), default=0),
        examples=findings.card.examples,
        tree=tree(findings.aligned, findings.ancestry, set()),
    )


def tables(findings: Findings) -> list[Table]:
    """Return every table of the report, numbers as they are printed."""
    evaluation, metrics = findings.evaluation, findings.metrics
    return [
        headlines.models(evaluation),
        Table(
            "models-more",
            "More of the same models",
            MORE_COLUMNS,
            [_more(name, scores) for name, scores in headlines.ordered(evaluation).items()],
        ),
        *tasks.tables(findings.tasks),
        *([_student_table(evaluation.student, findings.speeds)] if evaluation.student else []),
        *([_benchmark_table(evaluation)] if evaluation.benchmarks else []),
        *judges.tables(evaluation),
        *([_reward_table(score)] if (score := headlines.preference_score(metrics)) else []),
        *_data_tables(findings.card),
        _corpora_table({THIS_RUN: metrics, **findings.profiles}),
        *(
            Table(
                f"metrics-{stage}",
                stage,
                ["Number", "Value"],
                [[name, number(value)] for name, value in _flat(numbers) if not isinstance(value, list)],
            )
            for stage, numbers in metrics.items()
            if numbers
        ),
    ]


def _student_table(students: Mapping[str, Student], speeds: Mapping[str, Mapping[str, float]]) -> Table:
    measures = ("parameters", "perplexity", "end_nats")
    return Table(
        "student",
        "Student against teacher",
        ["Model", "Parameters", "Perplexity", "End, nats", "Reading, tokens/s", "Writing, tokens/s"],
        [
            [
                name,
                *(number(getattr(students[name], measure)) for measure in measures),
                *(number(speeds.get(model, {}).get(how)) for how in ("reading", "writing")),
            ]
            for name, model in (("teacher", "supervised"), ("student", "distilled"))
        ],
    )


def _benchmark_table(evaluation: Evaluation) -> Table:
    """Return what each model scores on the user's own tasks, with standard errors."""

    def shown(score: BenchmarkScore) -> str:
        error = "" if score.standard_error is None else f" {PLUS_MINUS} {number(score.standard_error)}"
        return f"{number(score.value)}{error}"

    models = list(headlines.ordered(evaluation))
    return Table(
        "benchmarks",
        "Benchmarks: values with their standard errors",
        ["Benchmark", "Metric", "Examples", "Shots", "Cut", *models],
        [
            [
                *(name, metric, number(found.examples), number(found.shots), number(found.cut)),
                *(shown(found.models[model][metric]) for model in models),
            ]
            for name, found in evaluation.benchmarks.items()
            for metric in found.models[models[0]]
        ],
    )


def _reward_table(score: Numbers) -> Table:
    """Return how well held-out comparisons are predicted."""
    return Table(
        "reward",
        f"{score['comparisons']:,} comparisons that no stage learned from",
        ["Measure", "Value", "Standard error", "Texts"],
        [
            ["Accuracy", *_estimate(score["accuracy"])],
            *([f"on {name}", *_estimate(right)] for name, right in score["accuracy_by_source"].items()),
            ["Expected calibration error", *_estimate(score["calibration_error"])],
        ],
    )


def _data_tables(card: DataCard) -> list[Table]:
    sources = card.sources
    reasons = sorted({reason for found in sources.values() for reason in found.dropped})
    return [
        Table(
            "sources",
            "What the documents come from; tokens are those that the language model may read",
            ["Source", "Rows", "Documents", "Words", "Tokens", "Languages", "From", "Licence"],
            [
                [
                    name,
                    *(number(getattr(found, column)) for column in ("rows", "documents", "words", "tokens")),
                    ", ".join(sorted(found.languages)),
                    "; ".join(found.origins),
                    "; ".join(found.licences),
                ]
                for name, found in sources.items()
            ],
        ),
        Table(
            "dropped",
            "Documents left out, by the first reason to",
            ["Reason", *sources],
            [
                [reason, *(number(found.dropped.get(reason)) for found in sources.values())]
                for reason in reasons
            ],
        ),
    ]


def _corpora_table(corpora: Mapping[str, Mapping[str, Numbers]]) -> Table:
    """Return base models of several corpora.

    Bits a byte compare what tokens cannot: they do not depend on the tokenizer.
    """
    return Table(
        "corpora",
        "The same small network pretrained on each corpus, on held-out text of its own",
        [
            "Corpus",
            "Languages",
            "Bytes a token",
            "Tokens trained on",
            "Nats a token",
            "Bits a byte",
            "Measured",
        ],
        [
            [
                name,
                ", ".join(found["tokenize"]["languages"]),
                number(found["tokenize"]["bytes_per_token/train"]),
                number(found["pretrain"]["tokens"]),
                *(
                    number(found["pretrain"]["validation"][unit])
                    for unit in ("nats_per_token", "bits_per_byte")
                ),
                _measured(name, found),
            ]
            for name, found in corpora.items()
        ],
    )


def _measured(corpus: str, found: Mapping[str, Any]) -> str:
    """Return who measured the row of a corpus: this run, or another, whose numbers are kept in profiles/."""
    return "by this run" if corpus == THIS_RUN else f"{kept.when(found)}, not by this run"


def charts(findings: Findings) -> dict[str, list[Chart]]:
    """Return every figure of the report, by the section it stands in."""
    align = findings.curves.get("align", [])
    training = {name: rows for name, rows in findings.curves.items() if name != "align" and rows}
    score = headlines.preference_score(findings.metrics)
    if findings.metrics["align"]["kind"] == "ppo":
        alignment = [*figures.reward_against_kl(align), *figures.ppo_curves(align)]
    else:
        alignment = figures.dpo_curves(align)
    return {
        **judges.charts(findings.evaluation),
        "tasks": tasks.charts(findings.tasks),
        "training": figures.loss_curves(training),
        "alignment": alignment,
        "reward": figures.reliability_diagram(score["calibration"] if score else []),
    }


def tree(weights: str, records: Mapping[str, tuple[str, Record]], seen: set[str]) -> dict[str, Any]:
    """Return the record of a model as a tree to show. A model that was met before is named, not told of again."""
    path, record = records[weights]
    told = weights in seen
    seen.add(weights)
    node = {"path": path, "told": told, "stage": record.stage, "key": record.key, "weights": weights}
    if told:
        return node
    return node | {
        "data": record.data,
        "code": record.code,
        "params": list(_flat(record.params)),
        "parents": [tree(parent, records, seen) for parent in record.parents.values() if parent in records],
    }


def _more(name: str, scores: Scores) -> list[str]:
    measures = ("reward", "kl", "kl_per_token", "distinct_1", "distinct_2", "end_nats")
    saved = scores.nats_saved
    below = (
        f"{number(saved['value'])} {PLUS_MINUS} {number(saved['standard_error'])}" if saved else number(None)
    )
    return [name, *(number(getattr(scores, measure)) for measure in measures), below]


def _estimate(found: Numbers) -> list[str]:
    """Return the value, standard error and number of independent units, as printed."""
    return [percent(found["value"]), percent(found["standard_error"]), number(found["units"])]


def _flat(numbers: Numbers, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
