"""The report of a run: one HTML file that needs nothing beside it, and the tables and figures that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jokbo.evaluation.results import Evaluation, Scores
from jokbo.reporting import figures, page
from jokbo.reporting.figures import Chart
from jokbo.reporting.page import DASH, TIMES, Table, number, percent, share
from jokbo.runtime.ancestry import Record

SAMPLES_SHOWN = 12
SYSTEM_NOTES = {
    "base": "pretrained only",
    "supervised": "finetuned on reviews",
    "distilled": "student of the supervised one",
    "aligned": "after PPO",
}
SYSTEM_COLUMNS = [
    *(
        "System",
        "Length",
        "Judged positive",
        "Wins",
        "Wins at like length",
        "Reward",
        "KL, nats",
        "KL a token",
    ),
    *("Distinct-1", "Distinct-2", "Perplexity", "End, nats"),
]
CLASSIFIERS = {
    "classifier": "Pretrained, then finetuned (GPT-1, loss L3)",
    "classifier-scratch": "The same network, from scratch",
    "naive-bayes": "Naive Bayes on words and word pairs",
}
Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Findings:
    """What a run found out; see `render` for what is in each part."""

    evaluation: Evaluation
    samples: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, Numbers]
    curves: Mapping[str, Sequence[Mapping[str, float]]]
    ancestry: Mapping[str, tuple[str, Record]]
    aligned: str
    timings: Mapping[str, float]
    speeds: Mapping[str, Mapping[str, float]]
    card: Mapping[str, Any]
    profiles: Mapping[str, Mapping[str, Numbers]]


def render(findings: Findings) -> str:
    """The report as one HTML text; the same findings give the same bytes.

    `findings.evaluation` is what `evaluate` found (evaluation.results).
    `findings.samples` are the rows of samples.jsonl: `prompt`; each system's continuation under its name; `judge`,
    the judge's probability of positive for each system. `metrics` are metrics/NAME.json by NAME, of which these are
    read by name: finetune `classifier`, accuracies `validation` and `test` of `classifier`, `classifier-scratch` and
    `naive-bayes`; reward `human`, on real comparisons, `comparisons` of `texts`, `accuracy`,
    `accuracy_by_source`, `calibration_error` (estimates by text), `calibration` (rows of calibration.Bin). `curves` are
    the rows of plots/NAME.csv by NAME, or NAME/PART where it holds several trainings; `ancestry` the records of the
    models by the hash of their weights, `aligned` that of the final one. `timings`, seconds by stage, and `speeds`,
    tokens a second `reading` and `writing` of the supervised and of the distilled system, are of this machine, and
    empty if unknown. `card` is the data card (jokbo.reporting.data_card); `profiles`, by name, the metrics of
    `prepare`, `tokenize` and `pretrain` of other corpora.
    """
    return page.render(
        "reporting/report.html.jinja",
        headlines=headlines(findings),
        evaluation=findings.evaluation,
        tables={table.name: table for table in tables(findings)},
        charts=charts(findings),
        samples=findings.samples[:SAMPLES_SHOWN],
        notes=SYSTEM_NOTES,
        timings=findings.timings,
        longest=max(findings.timings.values(), default=0),
        examples=findings.card["examples"],
        family=family(findings.aligned, findings.ancestry, set()),
    )


def headlines(findings: Findings) -> list[dict[str, str]]:
    """The few numbers to read first: `value`, `label`, `detail`."""
    evaluation, reward, speeds = findings.evaluation, findings.metrics["reward"]["human"], findings.speeds
    supervised, aligned = evaluation.systems["supervised"], evaluation.systems["aligned"]
    teacher, student = evaluation.student["teacher"], evaluation.student["student"]
    smaller = f"{share(1 - student.parameters / teacher.parameters)} fewer parameters"
    perplexities = f"perplexity {number(student.perplexity)} against {number(teacher.perplexity)}"
    speed = f"{speeds['distilled']['writing'] / speeds['supervised']['writing']:.1f}{TIMES}" if speeds else ""
    lengths = f"answers of {supervised.length:.1f} and {aligned.length:.1f} tokens"
    alike = f"where both answers are as long within {evaluation.matched_tokens} tokens {_matched(aligned)}"
    foretold = reward["accuracy"]
    assert aligned.win_rate is not None
    assert aligned.win_rate_low is not None
    assert aligned.win_rate_high is not None
    return [
        {
            "value": f"{share(supervised.positive)} → {share(aligned.positive)}",
            "label": "judged positive, before and after PPO",
            "detail": f"{lengths}; {evaluation.prompts:,} held-out prompts; a judge that no stage has seen",
        },
        {
            "value": share(aligned.win_rate),
            "label": "of prompts won against the supervised model",
            "detail": f"95% interval {share(aligned.win_rate_low)} to {share(aligned.win_rate_high)}; {alike}",
        },
        {
            "value": f"{aligned.kl:.1f} nats",
            "label": "moved from the supervised model",
            "detail": f"{aligned.kl_per_token:.2f} a token, {aligned.length:.1f} tokens; distinct-2 "
            f"{number(aligned.distinct_2)}, supervised {number(supervised.distinct_2)}",
        },
        {
            "value": share(foretold["value"]),
            "label": "of real human comparisons foretold",
            "detail": f"95% interval {share(foretold['low'])} to {share(foretold['high'])}: reward model, "
            f"{reward['comparisons']:,} comparisons of {reward['texts']:,} texts it never saw",
        },
        {
            "value": speed or smaller,
            "label": "speed of the student" if speed else "in the student",
            "detail": f"{smaller}, {perplexities}" if speed else perplexities,
        },
    ]


def tables(findings: Findings) -> list[Table]:
    """Every table of the report, numbers as they are printed."""
    evaluation, metrics = findings.evaluation, findings.metrics
    classifiers, judge, reward = (
        metrics["finetune"]["classifier"],
        evaluation.judge,
        metrics["reward"]["human"],
    )
    return [
        Table(
            "systems",
            f"The same {evaluation.prompts:,} held-out prompts for every system; 95% intervals in brackets",
            SYSTEM_COLUMNS,
            [_system_row(name, system) for name, system in _systems(findings).items()],
        ),
        Table(
            "classification",
            "Accuracy on Rotten Tomatoes sentences that no training saw",
            ["Classifier", "Validation", "Test"],
            [
                [label, *(percent(classifiers[name][split]) for split in ("validation", "test"))]
                for name, label in CLASSIFIERS.items()
            ],
        ),
        Table(
            "student",
            "Student against teacher",
            ["Model", "Parameters", "Perplexity", "End, nats", "Reading, tokens/s", "Writing, tokens/s"],
            [
                [
                    name,
                    *(
                        number(getattr(evaluation.student[name], measure))
                        for measure in ("parameters", "perplexity", "end_nats")
                    ),
                    *(number(findings.speeds.get(system, {}).get(how)) for how in ("reading", "writing")),
                ]
                for name, system in (("teacher", "supervised"), ("student", "distilled"))
            ],
        ),
        Table(
            "judge",
            "How often the judge is right on held-out texts",
            ["Texts", "Accuracy", "Standard error", "Reviews"],
            [
                ["Whole reviews", *_estimate(judge["reviews"])],
                ["Two sentences of a review", *_estimate(judge["sentences"])],
                ["Rotten Tomatoes sentences", *_estimate(judge["rotten_tomatoes"])],
            ],
        ),
        Table(
            "reward",
            f"The reward model on {reward['comparisons']:,} real human comparisons",
            ["Measure", "Value", "Standard error", "Texts"],
            [
                ["Accuracy", *_estimate(reward["accuracy"])],
                *([f"on {name}", *_estimate(right)] for name, right in reward["accuracy_by_source"].items()),
                ["Expected calibration error", *_estimate(reward["calibration_error"])],
            ],
        ),
        *_data_tables(findings.card),
        _corpora_table({"this run": metrics, **findings.profiles}),
        *(
            Table(
                f"metrics-{stage}",
                stage,
                ["Number", "Value"],
                [[name, number(value)] for name, value in _flat(numbers) if not isinstance(value, list)],
            )
            for stage, numbers in metrics.items()
        ),
    ]


def _data_tables(card: Mapping[str, Any]) -> list[Table]:
    sources = card["sources"]
    reasons = sorted({reason for found in sources.values() for reason in found["dropped"]})
    return [
        Table(
            "sources",
            "What the documents come from; tokens are those that the language model may read",
            ["Source", "Rows", "Documents", "Words", "Tokens", "Languages", "From", "Licence"],
            [
                [
                    name,
                    *(number(found.get(column)) for column in ("rows", "documents", "words", "tokens")),
                    ", ".join(sorted(found["languages"])),
                    "; ".join(found["from"]),
                    "; ".join(found["licences"]),
                ]
                for name, found in sources.items()
            ],
        ),
        Table(
            "dropped",
            "Documents left out, by the first reason to",
            ["Reason", *sources],
            [
                [reason, *(number(found["dropped"].get(reason)) for found in sources.values())]
                for reason in reasons
            ],
        ),
    ]


def _corpora_table(corpora: Mapping[str, Mapping[str, Numbers]]) -> Table:
    """Base models of several corpora. Bits a byte compare what tokens cannot: they do not depend on the tokenizer."""
    return Table(
        "corpora",
        "The same small network pretrained on each corpus, on held-out text of its own",
        ["Corpus", "Languages", "Bytes a token", "Tokens trained on", "Nats a token", "Bits a byte"],
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
            ]
            for name, found in corpora.items()
        ],
    )


def charts(findings: Findings) -> dict[str, list[Chart]]:
    """Every figure of the report, by the section it stands in."""
    ppo = findings.curves.get("ppo", [])
    training = {name: rows for name, rows in findings.curves.items() if name != "ppo" and rows}
    return {
        "results": figures.judged_positive(_systems(findings)),
        "training": figures.loss_curves(training),
        "ppo": [*figures.reward_against_kl(ppo), *figures.ppo_curves(ppo)],
        "reward": figures.reliability_diagram(findings.metrics["reward"]["human"]["calibration"]),
    }


def family(weights: str, records: Mapping[str, tuple[str, Record]], seen: set[str]) -> dict[str, Any]:
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
        "parents": [family(parent, records, seen) for parent in record.parents.values() if parent in records],
    }


def _systems(findings: Findings) -> dict[str, Scores]:
    return {
        name: findings.evaluation.systems[name] for name in SYSTEM_NOTES
    }  # a file has them by the alphabet


def _system_row(name: str, system: Scores) -> list[str]:
    return [
        name,
        number(system.length),
        *(_interval(system, measure) for measure in ("positive", "win_rate")),
        _matched(system),
        *(number(getattr(system, measure)) for measure in ("reward", "kl", "kl_per_token")),
        *(
            number(getattr(system, measure))
            for measure in ("distinct_1", "distinct_2", "perplexity", "end_nats")
        ),
    ]


def _matched(system: Scores) -> str:
    shown = _interval(system, "matched_win_rate")
    return shown if shown == DASH else f"{shown} of {system.matched:,}"


def _estimate(found: Numbers) -> list[str]:
    """Value, standard error and number of independent units, as printed."""
    return [percent(found["value"]), percent(found["standard_error"]), number(found["units"])]


def _interval(system: Scores, name: str) -> str:
    value, low, high = (getattr(system, f"{name}{end}") for end in ("", "_low", "_high"))
    return DASH if value is None else f"{share(value)} ({100 * low:.0f}{DASH}{100 * high:.0f})"


def _flat(numbers: Numbers, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
