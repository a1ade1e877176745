"""PPO and its baselines in one table: what each cost, and what it came to on the same held-out prompts.

A comparison is plain data, from which table, figures and pages are made:
    rows        one for each, in the order of params.yaml; see `row`
    curves      by name `samples`, `seconds`, `reward` and `kl` of the training, where it has them
    at_time     seconds that the fastest training took, at which the rewards of all are read
    judge       who judged, in words; null: nobody
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import fmean
from typing import Any

import numpy as np

from jokbo.evaluation import intervals
from jokbo.evaluation.diversity import distinct_n
from jokbo.evaluation.judges.judge import GOOD
from jokbo.reporting import page
from jokbo.reporting.figures import CYCLE, MUTED, Chart, panel
from jokbo.reporting.tables import DASH, Table, number

LAST = 5  # rows of a training whose mean is its reward at some moment
MARKS = ("-", "--", ":", "-.")
LABELS = {"samples": "responses sampled", "seconds": "seconds"}
HEADER = (
    *("Method", "Samples", "Seconds", "Reward", "KL, nats"),
    *("Judged good, %", "Better than the first, %", "Tokens", "Distinct-2, %", "Reward at equal time"),
)

Curve = Mapping[str, Sequence[float]]
Rows = Sequence[Mapping[str, float]]


def row(
    measured: Mapping[str, Any], said: Rows, judged: np.ndarray | None, first: np.ndarray | None
) -> dict[str, Any]:
    """Return a method's row, of what it measured and what it said to the held-out prompts.

    `samples`, `seconds`; `reward` and `kl` with their standard errors over prompts; mean `tokens`; and where somebody
    judged, `good`, the share of responses that are more probably good than not, and `wins`, the share of prompts on
    which it is judged better than the first method.
    """
    found = {key: measured[key] for key in ("kind", "samples", "seconds")}
    found |= {name: _estimate([each[name] for each in said]) for name in ("reward", "kl")}
    found["tokens"] = fmean(each["tokens"] for each in said)
    found["good"] = None if judged is None else _estimate(judged > GOOD)
    wins = None if judged is None or first is None else (1 + np.sign(judged - first)) / 2
    found["wins"] = None if wins is None else _estimate(wins)
    return found


def rows(
    measured: Mapping[str, Mapping[str, Any]],
    said: Mapping[str, Sequence[Mapping[str, Any]]],
    judged: Mapping[str, np.ndarray] | None,
) -> list[dict[str, Any]]:
    """Return a row for each, with its share of distinct pairs of words among equally many of each."""
    distinct = distinct_n({name: [each["response"] for each in own] for name, own in said.items()}, 2).shares
    first = None if judged is None else judged[next(iter(said))]
    return [
        {
            "name": name,
            **row(measured[name], own, None if judged is None else judged[name], first),
            "distinct_2": distinct[name],
        }
        for name, own in said.items()
    ]


def curve(history: Rows) -> dict[str, list[float]]:
    """Return what of a training is drawn: the columns that it has."""
    names = ("samples", "seconds", "reward", "kl")
    return {name: [each[name] for each in history] for name in names if all(name in each for each in history)}


def at_time(curves: Mapping[str, Curve], trained: Sequence[str]) -> dict[str, float]:
    """Return the reward of each method when the fastest training had ended, by name: of its last rows until then.

    A method that had no row by then, or tells of no reward, is left out. Of `trained` the time is a training's.
    """
    ends = [curves[name]["seconds"][-1] for name in trained]
    if not ends:
        return {}
    found = {}
    for name in trained:
        by_then = [i for i, seconds in enumerate(curves[name]["seconds"]) if seconds <= min(ends)]
        if by_then and "reward" in curves[name]:
            found[name] = fmean(curves[name]["reward"][i] for i in by_then[-LAST:])
    return found


def table(comparison: Mapping[str, Any]) -> Table:
    """Return the comparison, numbers as they are printed."""
    fastest = comparison["at_time"]
    told = (
        f"Rewards and KL on held-out prompts, with standard errors. Judge: {comparison['judge'] or 'nobody'}."
    )
    if fastest is not None:
        told += f" Equal time: {number(fastest)} seconds, when the fastest training had ended; rewards there are of"
        told += " prompts that are learned from."
    return Table("alignment", told, HEADER, [_cells(each) for each in comparison["rows"]])


def charts(curves: Mapping[str, Curve]) -> list[Chart]:
    """Return the reward over samples, over seconds, and over KL, a line for each method that tells of it."""
    told = {name: own for name, own in curves.items() if "reward" in own}
    found = []
    for x, label in (*LABELS.items(), ("kl", "KL, nats a response")):
        with panel(label, "reward") as (figure, axes):
            for number_, ((name, own), colour) in enumerate(zip(told.items(), cycle(CYCLE), strict=False)):
                style = MARKS[number_ // len(CYCLE) % len(MARKS)]
                axes.plot(own[x], own["reward"], color=colour, linestyle=style, linewidth=1.2, label=name)
            axes.axhline(0, color=MUTED, linewidth=0.8)
        ends = ", ".join(f"{name} {own['reward'][-1]:.2f}" for name, own in told.items())
        alt = f"Reward over {label}; at the end: {ends}."
        found.append(Chart(f"alignment-{x}", f"Reward over {label}", alt, figure))
    return found


def markdown(comparison: Mapping[str, Any]) -> str:
    """Return the table as a page of markdown."""
    found = table(comparison)
    return f"# PPO and its baselines\n\n{found.caption}\n\n{found.markdown()}"


def html(comparison: Mapping[str, Any]) -> str:
    """Return table and figures as one HTML file that needs nothing beside it."""
    return page.render(
        "alignment/compared.html.jinja", found=table(comparison), charts=charts(comparison["curves"])
    )


def _estimate(values: Any) -> dict[str, Any]:
    """Return a mean over prompts, with its error and interval: no two values share a prompt."""
    return intervals.by_unit(values, [(i,) for i in range(len(values))])._asdict()


def _cells(each: Mapping[str, Any]) -> list[str]:
    return [
        each["name"],
        f"{each['samples']:,.0f}",
        number(each["seconds"]),
        *(f"{each[name]['value']:+.2f} ({each[name]['standard_error']:.2f})" for name in ("reward", "kl")),
        *(_percent(each[name]) for name in ("good", "wins")),
        f"{each['tokens']:.1f}",
        DASH if each["distinct_2"] is None else f"{100 * each['distinct_2']:.0f}",
        DASH if each["at_time"] is None else f"{each['at_time']:+.2f}",
    ]


def _percent(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return DASH
    return f"{100 * found['value']:.0f} ({100 * found['low']:.0f} to {100 * found['high']:.0f})"
