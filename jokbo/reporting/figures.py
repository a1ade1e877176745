"""Figures of the report: one small panel each, so that they stack on a phone and sit side by side on a
screen.

The same matplotlib figure goes to MLflow as it is and into the page as SVG. In the page, the colours below
become the page's own (CSS variables), so that figures follow its light or dark dress.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

    from jokbo.evaluation.evaluation import JudgeScores

INK, MUTED, LINE = "#26221d", "#776f66", "#ddd6ca"
PAPER = "#fffdf9"
COLOURS = {"base": "#8a8178", "supervised": "#2f6690", "distilled": "#3a7d6b", "aligned": "#b23a2e"}
CYCLE = tuple(reversed(COLOURS.values()))
ACCENT, SECOND = COLOURS["aligned"], COLOURS["supervised"]
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--card",
    **{colour: f"--{name}" for name, colour in COLOURS.items()},
}
STYLE: dict[RcKeyType, Any] = {
    "font.size": 11,
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched, and set in the page's own type
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": PAPER,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}
SIZE = (4.0, 2.6)  # inches

PPO_PANELS = {  # column of plots/align.csv -> title, what the axis measures
    "reward": ("Reward", "mean score"),
    "kl": ("KL from the supervised policy", "nats a sequence"),
    "beta": ("Weight of the KL penalty", "beta"),
    "entropy": ("Entropy", "nats a token"),
    "clip_fraction": ("Clipped share of tokens", "share"),
    "explained_variance": ("Value function", "explained variance"),
    "response_length": ("Response length", "tokens"),
}

DPO_PANELS = {
    "loss": ("Loss", "nats a pair"),
    "accuracy": ("Pairs ordered as preferred", "share"),
    "margin": ("Margin of the preferred response", "beta times nats"),
}

Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Chart:
    name: str  # file name without ending, and prefix of ids in the page
    title: str
    alt: str  # says in words what the figure shows
    figure: Figure


def loss_curves(curves: Mapping[str, Rows]) -> list[Chart]:
    """Return one panel for each training: every column with "loss" in its name against `step`."""
    charts = []
    for name, rows in curves.items():
        columns = [column for column in rows[0] if "loss" in column and _points(rows, "step", column)]
        if not columns:
            continue
        with panel("step", "loss") as (figure, axes):
            for column, colour in zip(columns, cycle(CYCLE), strict=False):
                label = _words(column) if len(columns) > 1 else None
                _line(axes, _points(rows, "step", column), colour, label)
        ends = ", ".join(f"{_words(column)} {_points(rows, 'step', column)[-1][1]:.3g}" for column in columns)
        alt = f"Training curve of {_words(name)}; ends at {ends}."
        charts.append(Chart(f"loss-{name.replace('/', '-')}", _words(name), alt, figure))
    return charts


def ppo_curves(rows: Rows) -> list[Chart]:
    """Return one panel for each column of PPO_PANELS that the rows have, against `step`."""
    return _curves(rows, PPO_PANELS, "ppo", "PPO iteration")


def dpo_curves(rows: Rows) -> list[Chart]:
    """Return one panel for each column of DPO_PANELS that the rows have, against `step`."""
    return _curves(rows, DPO_PANELS, "dpo", "step")


def _curves(rows: Rows, panels: Mapping[str, tuple[str, str]], name: str, axis: str) -> list[Chart]:
    charts = []
    for column, (title, unit) in panels.items():
        points = _points(rows, "step", column)
        if not points:
            continue
        with panel(axis, unit) as (figure, axes):
            _line(axes, points, ACCENT)
        alt = f"{title} ({unit}) over {name.upper()}: from {points[0][1]:.3g} to {points[-1][1]:.3g}."
        charts.append(Chart(f"{name}-{column}", title, alt, figure))
    return charts


def reward_against_kl(rows: Rows) -> list[Chart]:
    """Return the reward model's score over the KL that it cost, by iteration (Stiennon et al. 2020, figure 5)."""
    points = [
        (row["kl"], row["reward"])
        for row in rows
        if row.get("kl") is not None and row.get("reward") is not None
    ]
    if not points:
        return []
    with panel("KL, nats a sequence", "reward") as (figure, axes):
        axes.plot(*zip(*points, strict=True), color=LINE, linewidth=1)
        axes.scatter(*zip(*points, strict=True), s=14, color=SECOND, alpha=0.7, linewidths=0)
        axes.scatter(*points[-1], s=60, color=ACCENT, zorder=3)
        axes.annotate("end", points[-1], xytext=(-8, 4), textcoords="offset points", ha="right", color=INK)
    alt = f"Reward against KL: PPO ends at reward {points[-1][1]:.3g} for {points[-1][0]:.3g} nats."
    return [Chart("reward-kl", "Reward against KL", alt, figure)]


def reliability_diagram(bins: Rows) -> list[Chart]:
    """Return the accuracy over confidence by bins, and an honest forecaster's diagonal (Guo et al. 2017, figure 1)."""
    if not bins:
        return []
    with panel("confidence of the reward model", "share right") as (figure, axes):
        widths = [row["high"] - row["low"] for row in bins]
        axes.bar(
            [row["low"] for row in bins],
            [row["accuracy"] for row in bins],
            width=[0.92 * width for width in widths],
            align="edge",
            color=SECOND,
        )
        axes.errorbar(
            [row["low"] + width / 2 for row, width in zip(bins, widths, strict=True)],
            [row["accuracy"] for row in bins],
            yerr=[row["standard_error"] or 0 for row in bins],
            fmt="none",
            ecolor=INK,
            linewidth=1,
        )
        axes.plot([0.5, 1], [0.5, 1], color=ACCENT, linestyle=(0, (4, 3)))
        axes.set(xlim=(0.5, 1), ylim=(0, 1.02))
    middle = "; ".join(f"{row['confidence']:.2f} said, {row['accuracy']:.2f} right" for row in bins)
    return [Chart("calibration", "Is its confidence deserved?", f"Reliability diagram: {middle}.", figure)]


def judged_good(judge: str, models: Mapping[str, JudgeScores]) -> list[Chart]:
    """Return a chart of the share of each model's responses that a judge finds good, with its interval."""
    shares = {
        name: np.array([scores.good, scores.good_low, scores.good_high], dtype=float)
        for name, scores in models.items()
    }
    with panel("share of responses judged good", "") as (figure, axes):
        for height, (name, (good, *ends)) in enumerate(reversed(shares.items())):
            colour = COLOURS.get(name, MUTED)
            axes.plot(ends, [height, height], color=colour, linewidth=3, alpha=0.45)
            axes.scatter(good, height, s=70, color=colour, zorder=3)
            axes.annotate(
                f"{good:.0%}",
                (good, height),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                color=INK,
            )
        axes.set(xlim=(0, 1), ylim=(-0.5, len(shares) - 0.3))
        axes.set_yticks(range(len(shares)), list(reversed(shares)), color=INK)
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(False, axis="y")
    said = ", ".join(f"{name} {good:.0%}" for name, (good, *_) in shares.items())
    alt = f"Share of responses that {judge} judges good: {said}."
    return [Chart(f"judged-good-{judge}", f"Judged good by {judge}", alt, figure)]


def svg(chart: Chart) -> str:
    """Return the figure as an SVG element for a page: same bytes every time, ids its own, colours the page's."""
    buffer = io.StringIO()
    style: dict[RcKeyType, Any] = {**STYLE, "svg.hashsalt": chart.name}
    with matplotlib.rc_context(style):
        chart.figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    box = re.search(r'viewBox="[^"]+"', text)
    assert box is not None
    text = re.sub(r"^.*?<svg [^>]*>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)  # the time, among others
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{chart.name}-", text)
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text)  # the family is the page's
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return f'<svg {box.group()} role="img" aria-label="{escape(chart.alt)}">{text}'


@contextmanager
def panel(x: str, y: str) -> Iterator[tuple[Figure, Axes]]:
    """Yield the axes of a figure in the house style, with a legend if anything drawn there has a label."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot(xlabel=x, ylabel=y)
        yield figure, axes
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=10, labelcolor=INK)


def _line(axes: Axes, points: Sequence[tuple[float, float]], colour: str, label: str | None = None) -> None:
    """Draw a curve; a long one as a running mean over the faint original."""
    step_N, value_N = np.asarray(points, dtype=float).T
    window = len(points) // 40
    if window > 1:
        axes.plot(step_N, value_N, color=colour, alpha=0.22, linewidth=0.8)
        total_N = np.concatenate([[0], value_N.cumsum()])
        value_N = (total_N[window:] - total_N[:-window]) / window
        step_N = step_N[window // 2 :][: len(value_N)]  # the middle of each window
    axes.plot(step_N, value_N, color=colour, label=label)


def _points(rows: Rows, x: str, y: str) -> list[tuple[float, float]]:
    return [(row[x], row[y]) for row in rows if row.get(x) is not None and row.get(y) is not None]


def _words(name: str) -> str:
    return name.replace("_", " ").replace("/", ": ")
