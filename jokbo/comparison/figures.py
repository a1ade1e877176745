"""Figures of the comparison, drawn from it as it stands in family/table.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jokbo.reporting.figures import ACCENT, INK, MUTED, SECOND, SIZE, STYLE, Chart, panel

ROW = 0.24  # inches of height for each system
DASHES = ((4, 2), (1, 1.5), (6, 2, 1, 2), (8, 3), (2, 2), (10, 2, 2, 2), (3, 1, 1, 1, 1, 1))  # of baselines
NORMS = {"post": ("post-norm", ACCENT), "pre": ("pre-norm", SECOND)}


def charts(comparison: Mapping[str, Any]) -> dict[str, list[Chart]]:
    """Return every figure, by where it stands in the page."""
    return {
        "family-results": downstream(comparison["rows"]),
        "family-closer": [
            *gradients_by_depth(comparison["gradients"]),
            *alignment(**comparison["alignment"]),
            *attention_memory(**comparison["memory"]),
        ],
        "family-curves": pretraining(comparison["rows"], comparison["curves"]),
    }


def downstream(rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return a mark for each system pretrained and one from scratch, with standard errors; a line for each baseline."""
    systems = [row for row in rows if row["pretrained"]]
    baselines = [row for row in rows if not row["pretrained"]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(SIZE[0], ROW * len(systems) + 1.2), layout="constrained")
        axes = figure.add_subplot(xlabel="accuracy over tasks")
        heights = range(len(systems) - 1, -1, -1)  # the oldest on top
        for start, colour, lift in (("scratch", MUTED, -0.12), ("pretrained", ACCENT, 0.12)):
            axes.errorbar(
                [row[start]["mean"] for row in systems],
                [height + lift for height in heights],
                xerr=[row[start]["error"] for row in systems],
                **{"fmt": "o", "markersize": 4, "color": colour, "elinewidth": 1.2},
                label={"scratch": "from scratch"}.get(start, start),
            )
        for row, dashes in zip(baselines, cycle(DASHES), strict=False):
            mean = row["scratch"]["mean"]
            axes.axvline(mean, color=SECOND, linewidth=1, linestyle=(0, dashes), label=row["label"])
        axes.set_yticks(heights, [row["label"] for row in systems], color=INK, fontsize=9)
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(False, axis="y")
        figure.legend(
            *axes.get_legend_handles_labels(),
            **{"loc": "outside upper center", "ncols": 2, "frameon": False, "fontsize": 9, "labelcolor": INK},
        )
    best = max(systems, key=lambda row: row["pretrained"]["mean"], default=None)
    told = [f"{row['label']} {row['scratch']['mean']:.1%}" for row in baselines]
    if best:
        told.insert(
            0, f"best of {len(systems)} systems pretrained: {best['label']} {best['pretrained']['mean']:.1%}"
        )
    return [
        Chart("family-downstream", "Pretrained and from scratch", f"Accuracy: {', '.join(told)}.", figure)
    ]


def gradients_by_depth(gradients: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Chart]:
    """Return the gradient norm over depth at initialisation, a panel for each stack (Xiong et al. 2020, figure 3)."""
    found = []
    for stack in ("encoder", "decoder"):
        with panel(f"layer of the {stack}", "gradient norm") as (figure, axes):
            for norm, (label, colour) in NORMS.items():
                norms = gradients[norm][stack]
                axes.plot(range(1, len(norms) + 1), norms, marker="o", color=colour, label=label)
            axes.set_ylim(bottom=0)
        ends = ", ".join(
            f"{label} from {gradients[norm][stack][0]:.3g} to {gradients[norm][stack][-1]:.3g}"
            for norm, (label, _) in NORMS.items()
        )
        alt = f"Gradient norms from the first layer of the {stack} to the last, before any training: {ends}."
        found.append(Chart(f"family-gradients-{stack}", f"Gradients at the start: {stack}", alt, figure))
    return found


def alignment(
    source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]]
) -> list[Chart]:
    """Draw where the decoder looked for each word that it wrote: the darker, the more (Bahdanau et al.

    2014, figure 3).
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(SIZE[0], SIZE[0]), layout="constrained")
        axes = figure.add_subplot(
            xlim=(-0.5, len(source) - 0.5), ylim=(len(target) - 0.5, -0.5), aspect="equal"
        )
        for row, looked in enumerate(weights):
            for column, weight in enumerate(looked):
                corner = (column - 0.5, row - 0.5)
                axes.add_patch(Rectangle(corner, 1, 1, color=SECOND, alpha=weight, linewidth=0))
        across, down = (
            [word.replace("$", r"\$") for word in words] for words in (source, target)
        )  # no formulas
        axes.set_xticks(range(len(source)), across, rotation=90, fontsize=8, color=INK)
        axes.set_yticks(range(len(target)), down, fontsize=8, color=INK)
        axes.xaxis.tick_top()
        axes.grid(False)
    most = max(max(looked) for looked in weights)
    alt = (
        f"Attention of each of {len(target)} words written (down) to {len(source)} words read (across); "
        f"the largest weight is {most:.2f}, an even one {1 / len(source):.2f}."
    )
    return [Chart("family-alignment", "Where RNNsearch looks", alt, figure)]


def attention_memory(length: Sequence[int], fused: Sequence[float], plain: Sequence[float]) -> list[Chart]:
    """Return what is kept for the backward pass over the length of a row, by way of computing attention."""
    ways = {"plain": ("as plain products", plain, ACCENT), "fused": ("fused", fused, SECOND)}
    with panel("tokens in a row", "activations kept, MB") as (figure, axes):
        for label, megabytes, colour in ways.values():
            axes.plot(length, megabytes, marker="o", color=colour, label=label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(length, [str(each) for each in length])
    ends = ", ".join(
        f"{label} from {megabytes[0]:.3g} to {megabytes[-1]:.3g} MB" for label, megabytes, _ in ways.values()
    )
    alt = f"Activations that a small GPT-2 keeps for a row of {length[0]} to {length[-1]} tokens: {ends}."
    return [Chart("family-attention-memory", "Memory of attention", alt, figure)]


def pretraining(
    rows: Sequence[Mapping[str, Any]], curves: Mapping[str, Mapping[str, Sequence[float]]]
) -> list[Chart]:
    """Return a panel for each system: loss of a predicted token, and what guessing by token frequency would lose."""
    found = []
    for row in rows:
        if row["name"] not in curves:
            continue
        curve = curves[row["name"]]
        with panel("step", "nats a predicted token") as (figure, axes):
            axes.axhline(row["unigram"], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.plot(curve["step"], curve["nats"], color=SECOND)
            axes.scatter(curve["step"][-1], row["nats"], s=36, color=ACCENT, zorder=3)
        alt = (
            f"Pretraining of {row['label']}: from {curve['nats'][0]:.3g} to {curve['nats'][-1]:.3g} nats, held out "
            f"{row['nats']:.3g}; token frequencies alone {row['unigram']:.3g}."
        )
        found.append(Chart(f"family-curve-{row['name']}", row["label"], alt, figure))
    return found
