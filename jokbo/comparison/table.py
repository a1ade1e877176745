"""The family in one table: what each system is, what it cost, and what came of it.

A comparison is plain data, family/table.json, from which tables, figures and pages are made:
    rows        systems and baselines by year; see `rows`
    claims      see claims.check
    curves      by name `step` and `nats` of pretraining, thinned
    gradients, alignment, memory    see measures.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from jokbo.comparison import figures
from jokbo.comparison.claims import against_scratch
from jokbo.comparison.verdicts import NOISE, NOT_SEEN, RULE, SEEN, UNMEASURED, TestRows, standard_error
from jokbo.reporting import page
from jokbo.reporting.page import DASH, Table, large, number

CURVE_POINTS = 30
ANSWERS = {SEEN: "yes", NOT_SEEN: "no", NOISE: NOISE}
ORDER = ("yes", SEEN, "no", NOT_SEEN, NOISE, UNMEASURED)
STARTS = ("pretrained", "scratch")
HEADER = [
    *(
        "System",
        "Year",
        "Objective",
        "Parameters",
        "Tokens",
        "FLOPs",
        "Seconds",
        "Loss, nats",
        "Unigram, nats",
    ),
    *("Pretrained, %", "From scratch, %", "Gain, points", "Pretraining helps"),
]

Metrics = Mapping[str, Mapping[str, Any]]
Comparison = Mapping[str, Any]


def rows(systems: Metrics, baselines: Metrics, test_rows: TestRows) -> list[dict[str, Any]]:
    """A row each, by year: `name`, `label`, `year`, `objective`, `parameters`, `tokens`, `flops`, `seconds`, and

        nats, before, unigram   held-out loss of a predicted token: trained, untrained, by token frequencies alone
        kind                    the metric that it is
        pretrained, scratch     accuracy over tasks: `mean`, `sd` over seeds, `error` (standard, of seeds and of test
                                texts), and `tasks`, means by name
        gain                    of pretraining: `value`, `error`, `verdict`

    `systems` are metrics/family/NAME.json by NAME, `baselines` is metrics/family_baselines.json. A baseline has
    nothing of pretraining: null.
    """
    titles = Counter(found["title"] for found in (*systems.values(), *baselines.values()))
    found = [
        {
            "name": name,
            "label": each["title"] if titles[each["title"]] == 1 else f"{each['title']} ({name})",
            **{key: each.get(key) for key in ("objective", "tokens", "flops")},
            **{key: each[key] for key in ("year", "parameters", "seconds")},
            **{key: each.get("pretraining", {}).get(key) for key in ("nats", "before", "unigram", "kind")},
            **{start: _accuracies(each["downstream"].get(start), test_rows) for start in STARTS},
            "gain": _gain(each, test_rows) if name in systems else None,
        }
        for name, each in (*systems.items(), *_scratch_only(baselines).items())
    ]
    return sorted(found, key=lambda row: (row["year"], row["label"].casefold()))


def thinned(curve: Sequence[Mapping[str, float]], kind: str) -> dict[str, list[float]]:
    """A training's column `kind` as means of equal parts of it, each at its last step."""
    points = [(row["step"], row[kind]) for row in curve if kind in row]
    size = -(-len(points) // CURVE_POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return {
        "step": [int(part[-1][0]) for part in parts],
        "nats": [round(fmean(value for _, value in part), 4) for part in parts],
    }


def tables(comparison: Comparison) -> list[Table]:
    """The comparison, accuracies by task, and the claims, numbers as they are printed."""
    found = comparison["rows"]
    tasks = list(found[0]["scratch"]["tasks"])
    return [
        Table(
            "family",
            "By year. Accuracies are over tasks, with their standard deviation over seeds; a gain is with its standard "
            f"error. Pretraining helps: {_tally(ANSWERS[row['gain']['verdict']] for row in found if row['gain'])}",
            HEADER,
            [_row(row) for row in found],
        ),
        Table(
            "family-tasks",
            "Accuracy on test texts by task, %: pretrained / from scratch",
            ["System", *tasks],
            [[row["label"], *(_task(row, task) for task in tasks)] for row in found],
        ),
        Table(
            "family-claims",
            "What the papers claim, and whether it is seen here: "
            f"{_tally(each['verdict'] for each in comparison['claims'])}",
            ["Claim", "Paper", "Checked here by", "Figures", "Verdict"],
            [
                [each[key] for key in ("claim", "paper", "here", "figures", "verdict")]
                for each in comparison["claims"]
            ],
        ),
    ]


def html(comparison: Comparison) -> str:
    """Tables and figures as one HTML file that needs nothing beside it."""
    return page.render(
        "comparison/table.page.html.jinja",
        tables={table.name: table for table in tables(comparison)},
        charts=figures.charts(comparison),
        rule=RULE,
    )


def markdown(comparison: Comparison) -> str:
    """The tables as a page of markdown."""
    texts = {"family": 3, "family-claims": 5}  # columns that are text
    parts = [
        f"{table.caption}.\n\n{table.markdown(texts.get(table.name, 1))}" for table in tables(comparison)
    ]
    return "\n".join(["# The family compared\n", *parts, f"{RULE}\n"])


def _scratch_only(baselines: Metrics) -> dict[str, dict[str, Any]]:
    return {name: {**each, "downstream": {"scratch": each["downstream"]}} for name, each in baselines.items()}


def _accuracies(result: Mapping[str, Any] | None, test_rows: TestRows) -> dict[str, Any] | None:
    if result is None:
        return None
    return {
        **{key: result[key] for key in ("mean", "sd")},
        "error": standard_error(result, test_rows),
        "tasks": {task: found["mean"] for task, found in sorted(result["tasks"].items())},
    }


def _gain(system: Mapping[str, Any], test_rows: TestRows) -> dict[str, Any]:
    gain = against_scratch(system, test_rows)
    return {"value": gain.value, "error": gain.error, "verdict": gain.verdict}


def _row(row: Mapping[str, Any]) -> list[str]:
    gain = row["gain"]
    return [
        row["label"],
        str(row["year"]),
        row["objective"] or DASH,
        *(large(row[key]) for key in ("parameters", "tokens", "flops")),
        *(number(row[key]) for key in ("seconds", "nats", "unigram")),
        *(_spread(row[start]) for start in STARTS),
        f"{100 * gain['value']:+.1f} ({100 * gain['error']:.1f})" if gain else DASH,
        ANSWERS[gain["verdict"]] if gain else DASH,
    ]


def _spread(result: Mapping[str, Any] | None) -> str:
    return f"{100 * result['mean']:.1f} ± {100 * result['sd']:.1f}" if result else DASH


def _task(row: Mapping[str, Any], task: str) -> str:
    return " / ".join(f"{100 * row[start]['tasks'][task]:.1f}" if row[start] else DASH for start in STARTS)


def _tally(verdicts: Iterable[str]) -> str:
    counts = Counter(verdicts)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER if verdict in counts)
