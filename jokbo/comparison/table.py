"""The comparison in one table: what each system is, what it cost, and what came of it.

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
from jokbo.comparison.verdicts import (
    ERRORS,
    NOISE,
    NOT_SEEN,
    RULE,
    SEEN,
    UNMEASURED,
    gain,
    standard_error,
)
from jokbo.reporting import page
from jokbo.reporting.tables import DASH, Table, large, number

CURVE_POINTS = 30
ANSWERS = {SEEN: "yes", NOT_SEEN: "no", NOISE: NOISE}
ORDER = ("yes", SEEN, "no", NOT_SEEN, NOISE, UNMEASURED)
STARTS = ("pretrained", "random", "scratch")
HEADER = [
    *("System", "Year", "Objective", "Parameters", "Tokens", "FLOPs", "Seconds"),
    *("Loss, nats", "Copying, nats", "Unigram, nats", "Context, nats", "Learned"),
    *("Pretrained, %", "Frozen random, %", "From scratch, %", "Gain, points", "Pretraining helps"),
]

Metrics = Mapping[str, Mapping[str, Any]]
Comparison = Mapping[str, Any]


def rows(systems: Metrics, baselines: Metrics, labels: str) -> list[dict[str, Any]]:
    """Return a row each, by year: `name`, `label`, `year`, `objective`, `parameters`, `tokens`, `flops`, `seconds`, and

        nats, before, unigram   held-out loss of a predicted token: trained, untrained, by token frequencies alone
        copying                 the same by token frequencies and copying: see copying.py
        context                 what its own context lowers it by: `gain`, `error`; see context.py
        kind                    the metric that the loss is
        pretrained, scratch     accuracy over tasks: `mean`, `sd` over seeds, `error` (standard, of seeds and of test
                                texts), and `tasks`, means by name
        random                  the same of a network that is frozen and was not pretrained
        gain                    of pretraining: `value`, `error`, `verdict`

    `systems` are metrics/family/NAME.json by NAME, `baselines` is metrics/family_baselines.json, both with what came of
    each text; `labels` is the number of labels. A baseline has nothing of pretraining: null. A system that is read at
    a text's last token too has a second row for that.
    """
    titles = Counter(found["title"] for found in (*systems.values(), *baselines.values()))
    each_result = {
        **{name: found["downstream"][labels] for name, found in systems.items()},
        **{name: {"scratch": found["downstream"]} for name, found in baselines.items()},
    }
    found = []
    for name, results in each_result.items():
        each = systems.get(name) or baselines[name]
        label = each["title"] if titles[each["title"]] == 1 else f"{each['title']} ({name})"
        found.append(_record(name, label, each, results))
        if last := each.get("extra", {}).get("last"):
            found.append(_record(f"{name}_last", f"{label}, read at its last token", each, last))
    return sorted(found, key=lambda row: (row["year"], row["label"].casefold()))


def _record(name: str, label: str, each: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    pretraining = each.get("pretraining", {})
    return {
        "name": name,
        "label": label,
        **{key: each.get(key) for key in ("objective", "tokens", "flops")},
        **{key: each[key] for key in ("year", "parameters", "seconds")},
        **{key: pretraining.get(key) for key in ("nats", "before", "unigram", "copying", "context", "kind")},
        **{start: _accuracies(results.get(start)) for start in STARTS},
        "gain": _gain(results) if "pretrained" in results else None,
    }


def thinned(curve: Sequence[Mapping[str, float]], kind: str) -> dict[str, list[float]]:
    """Return a training's column `kind` as means of equal parts of it, each at its last step."""
    points = [(row["step"], row[kind]) for row in curve if kind in row]
    size = -(-len(points) // CURVE_POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return {
        "step": [int(part[-1][0]) for part in parts],
        "nats": [round(fmean(value for _, value in part), 4) for part in parts],
    }


def tables(comparison: Comparison) -> list[Table]:
    """Return the comparison, accuracies by task, and the claims, numbers as they are printed."""
    found = comparison["rows"]
    tasks = list(found[0]["scratch"]["tasks"])
    return [
        Table(
            "family",
            "By year. Accuracies are over tasks, with their standard deviation over seeds; a gain is with its standard "
            "error, and so is what its own context lowers a loss by. Pretraining helps: "
            f"{_tally(ANSWERS[row['gain']['verdict']] for row in found if row['gain'])}",
            HEADER,
            [_row(row) for row in found],
        ),
        Table(
            "family-tasks",
            "Accuracy on test texts by task, %: pretrained / frozen random, where there is one / from scratch. "
            f"The pretrained network is the better one {_ahead(found, tasks)}",
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
    """Return the tables and figures as one HTML file that needs nothing beside it."""
    return page.render(
        "comparison/table.page.html.jinja",
        tables={table.name: table for table in tables(comparison)},
        charts=figures.charts(comparison),
        rule=RULE,
        unseen=unseen(comparison),
    )


def unseen(comparison: Comparison) -> str:
    """Return one sentence on what this comparison does not show."""
    systems = [row for row in comparison["rows"] if row["gain"]]
    helped = [row["label"] for row in systems if row["gain"]["verdict"] != SEEN]
    learned = [row["label"] for row in systems if not learned_something(row["context"])]
    claimed = [each["claim"] for each in comparison["claims"] if each["verdict"] != SEEN]
    parts = [
        f"{what} ({len(which)} of {of}): {', '.join(which) or 'none'}"
        for what, which, of in (
            ("that pretraining helps", helped, len(systems)),
            ("that something was learned of context", learned, len(systems)),
            ("what the papers claim", claimed, len(comparison["claims"])),
        )
    ]
    return f"What is not seen here: {'; '.join(parts)}."


def learned_something(context: Mapping[str, float]) -> bool:
    """Return whether a text's own context lowers a system's loss by more than two standard errors."""
    return context["gain"] > ERRORS * context["error"]


def with_error(value: float, error: float, digits: int) -> str:
    """Return a difference with its standard error, as it is printed."""
    return f"{value:+.{digits}f} ({error:.{digits}f})"


def markdown(comparison: Comparison) -> str:
    """Return the tables as a page of markdown."""
    texts = {"family": 3, "family-claims": 5}  # columns that are text
    parts = [
        f"{table.caption}.\n\n{table.markdown(texts.get(table.name, 1))}" for table in tables(comparison)
    ]
    return "\n".join(["# The systems compared\n", f"{unseen(comparison)}\n", f"{RULE}\n", *parts])


def _accuracies(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if result is None:
        return None
    return {
        **{key: result[key] for key in ("mean", "sd")},
        "error": standard_error(result),
        "tasks": {task: found["mean"] for task, found in sorted(result["tasks"].items())},
    }


def _gain(results: Mapping[str, Any]) -> dict[str, Any]:
    found = gain(results)
    return {"value": found.value, "error": found.error, "verdict": found.verdict}


def _row(row: Mapping[str, Any]) -> list[str]:
    gained, context = row["gain"], row["context"]
    return [
        row["label"],
        str(row["year"]),
        row["objective"] or DASH,
        *(large(row[key]) for key in ("parameters", "tokens", "flops")),
        *(number(row[key]) for key in ("seconds", "nats", "copying", "unigram")),
        with_error(context["gain"], context["error"], 2) if context else DASH,
        ("yes" if learned_something(context) else "no") if context else DASH,
        *(_spread(row[start]) for start in STARTS),
        with_error(100 * gained["value"], 100 * gained["error"], 1) if gained else DASH,
        ANSWERS[gained["verdict"]] if gained else DASH,
    ]


def _spread(result: Mapping[str, Any] | None) -> str:
    return f"{100 * result['mean']:.1f} ± {100 * result['sd']:.1f}" if result else DASH


def _ahead(rows: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> str:
    """Return of how many systems pretraining does better on each task, whatever its error."""
    compared = [row for row in rows if row["gain"]]
    told = []
    for task in tasks:
        better = [row["pretrained"]["tasks"][task] > row["scratch"]["tasks"][task] for row in compared]
        told.append(f"on {task} for {sum(better)} of {len(better)}")
    return ", ".join(told)


def _task(row: Mapping[str, Any], task: str) -> str:
    starts = [start for start in STARTS if row[start] or start != "random"]
    return " / ".join(f"{100 * row[start]['tasks'][task]:.1f}" if row[start] else DASH for start in starts)


def _tally(verdicts: Iterable[str]) -> str:
    counts = Counter(verdicts)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER if verdict in counts)
