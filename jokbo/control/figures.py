"""Learning curves of the control tasks, means over seeds with their intervals."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle

import matplotlib
import numpy as np

from jokbo.control.table import ADAPTIVE, CLIP, FIXED, NONE, Comparison, estimate
from jokbo.reporting.figures import CYCLE, MUTED, STYLE, Chart, panel

DRAWN = {  # the lines of each figure
    "workers": ("A2C, A3C and PPO", ["a2c", "a3c", "a3c_alone", f"ppo: {CLIP}"]),
    "surrogates": ("PPO's surrogates", [f"ppo: {own}" for own in (NONE, CLIP, ADAPTIVE, FIXED)]),
    "surrogates-fast": (
        "PPO's surrogates, fast",
        [f"ppo_fast: {own}" for own in (NONE, CLIP, ADAPTIVE, FIXED)],
    ),
}
WIDE = (6.4, 3.4)  # inches


def charts(found: Comparison) -> list[Chart]:
    """Return a figure for each task and group of settings that has runs there."""
    made = []
    for task, own in found["tasks"].items():
        for group, (title, names) in DRAWN.items():
            curves = {name: band for name in names if (band := curve(found, name, task))}
            if not curves:
                continue
            algorithms = {name.partition(": ")[0] for name in names}
            shared = f"{algorithms.pop()}: " if len(algorithms) == 1 else ""
            with panel("steps of the environment", "return of the last episodes") as (figure, axes):
                figure.set_size_inches(*WIDE)
                for (name, (steps, means, halves)), colour in zip(curves.items(), cycle(CYCLE), strict=False):
                    axes.plot(steps, means, color=colour, label=name.removeprefix(shared))
                    low, high = np.subtract(means, halves), np.add(means, halves)
                    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
                axes.axhline(own["random"], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            ends = ", ".join(f"{name} {means[-1]:.1f}" for name, (_, means, _) in curves.items())
            alt = f"{title} on {own['environment']}, return by step; at the end: {ends}; at random {own['random']:.1f}."
            made.append(Chart(f"control-{task}-{group}", f"{title}: {own['environment']}", alt, figure))
    return made


def curve(found: Comparison, setting: str, task: str) -> tuple[list[float], list[float], list[float]] | None:
    """Return steps, mean returns and half widths of their intervals; None where there are not two runs.

    A point is left out if a seed has none there, as no episode had ended yet.
    """
    runs = [row["points"] for row in found["rows"] if (row["setting"], row["task"]) == (setting, task)]
    if len(runs) < 2:
        return None
    whole: list[Sequence[dict[str, float]]] = [
        points for points in zip(*runs, strict=False) if all("return" in point for point in points)
    ]
    bands = [estimate([point["return"] for point in points]) for points in whole]
    steps = [float(np.mean([point["steps"] for point in points])) for points in whole]
    return steps, [band.mean for band in bands], [band.half for band in bands]


def svg(chart: Chart) -> str:
    """Return a figure as the text of a file: the same bytes every time."""
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": chart.name}):
        chart.figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
