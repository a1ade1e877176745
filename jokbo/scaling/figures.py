"""Figures of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from jokbo.reporting.figures import ACCENT, MUTED, SECOND, STYLE, Chart, panel
from jokbo.runtime.files import writing
from jokbo.scaling import laws
from jokbo.scaling.counting import FLOPS_EACH
from jokbo.scaling.runs import Counted, Runs
from jokbo.scaling.tables import COUNTED, interval

Tree = Mapping[str, Any]
COLOURS = matplotlib.colormaps["viridis"]


def charts(tree: Tree, runs: Runs) -> list[Chart]:
    """Return the figures of a fit (fit.fitted) to these runs."""
    count = runs.counts[0]
    own = tree["counts"][count]
    found = [
        losses(own, runs.results.counted(count)),
        *([parabolas(own)] if own["isoflop"] else []),
        best_sizes(tree, runs),
        *told(own),
    ]
    return [*found, noise(tree, runs)] if tree["critical_batch"] else found


def losses(own: Tree, results: Counted) -> Chart:
    """Return loss over FLOPs: the runs of each size, and Chinchilla's law for it."""
    sizes = np.unique(results.parameters)
    theta = np.array(own["chinchilla"]["theta"])
    with panel("FLOPs, 6 N D", "held-out loss, nats a token") as (figure, axes):
        for size, colour in zip(sizes, COLOURS(np.linspace(0, 0.9, len(sizes))), strict=True):
            flops = np.geomspace(results.flops.min(), results.flops.max(), 60)
            law = laws.loss(laws.CHINCHILLA, theta, np.full(60, size), flops / FLOPS_EACH / size)
            axes.plot(flops, law, color=colour, linewidth=0.8, alpha=0.6)
            there = results.parameters == size
            axes.scatter(results.flops[there], results.loss[there], s=12, color=colour, zorder=3)
        axes.set_xscale("log")
        axes.set_ylim(0.97 * results.loss.min(), 1.05 * results.loss.max())
    alt = (
        f"Loss of {len(results)} runs of {len(sizes)} sizes, {sizes[0]:,.0f} to {sizes[-1]:,.0f} parameters (dark to "
        f"light), from {results.loss.max():.3g} to {results.loss.min():.3g} nats; lines: the law."
    )
    return Chart("scaling-losses", "Loss by compute", alt, figure)


def parabolas(own: Tree) -> Chart:
    """Return the isoFLOP parabolas and their lowest points (Hoffmann et al. 2022, figure 3)."""
    colours = COLOURS(np.linspace(0, 0.9, len(own["isoflop"])))
    with panel("parameters", "loss, nats a token") as (figure, axes):
        for each, colour in zip(own["isoflop"], colours, strict=True):
            sizes = np.array(each["parameters"])
            axes.scatter(sizes, each["loss"], s=12, color=colour)
            x = np.linspace(np.log(sizes.min()), np.log(sizes.max()), 60)
            axes.plot(
                np.exp(x),
                np.polynomial.polynomial.polyval(x, each["coefficients"]),
                color=colour,
                linewidth=1,
            )
            if each["lowest"]:
                axes.scatter(*each["lowest"], s=40, color=ACCENT, marker="v", zorder=3)
        axes.set_xscale("log")
    lowest = "; ".join(
        f"{each['flops']:.2g} FLOPs: {each['lowest'][0]:,.0f} parameters"
        if each["lowest"]
        else f"{each['flops']:.2g} FLOPs: not between the sizes"
        for each in own["isoflop"]
    )
    return Chart(
        "scaling-isoflop", "IsoFLOP parabolas", f"Loss by size at equal FLOPs; lowest at {lowest}.", figure
    )


def best_sizes(tree: Tree, runs: Runs) -> Chart:
    """Return the best size by FLOPs, parameters counted both ways: the law, and the parabolas' lowest points."""
    said = []
    with panel("FLOPs, 6 N D", "best number of parameters") as (figure, axes):
        for count, colour in zip(runs.counts, (SECOND, ACCENT), strict=False):
            own, flops = tree["counts"][count], runs.results.counted(count).flops
            reach = np.geomspace(flops.min(), flops.max(), 30)
            theta = np.array(own["chinchilla"]["theta"])
            law = [laws.optimum(theta, each)[0] for each in reach]
            axes.plot(reach, law, color=colour, label=COUNTED[count])
            points = np.array(
                [(each["flops"], each["lowest"][0]) for each in own["isoflop"] if each["lowest"]]
            )
            if len(points):
                axes.scatter(*points.T, s=18, color=colour)
            said.append(f"{COUNTED[count]} C^a with a {interval(own['exponents']['parametric loss'])}")
        axes.set_xscale("log")
        axes.set_yscale("log")
    return Chart(
        "scaling-best-size", "The best size", f"The best size by compute: {'; '.join(said)}.", figure
    )


def told(own: Tree) -> list[Chart]:
    """Return the losses of the largest fifth over what laws fitted to the other runs say of them."""
    found = {name: each for name, each in own["held_out"].items() if each}
    if not found:
        return []
    with panel("predicted, nats a token", "measured") as (figure, axes):
        every = [value for each in found.values() for value in (*each["measured"], *each["predicted"])]
        axes.plot([min(every), max(every)], [min(every), max(every)], color=MUTED, linewidth=1)
        for (name, each), colour in zip(found.items(), (SECOND, ACCENT), strict=False):
            axes.scatter(
                each["predicted"], each["measured"], s=16, color=colour, label=name.partition(" ")[0]
            )
    errors = "; ".join(f"{name}: mean error {each['mean_error']:.1%}" for name, each in found.items())
    return [Chart("scaling-held-out", "The largest fifth, told by the others", f"{errors}.", figure)]


def noise(tree: Tree, runs: Runs) -> Chart:
    """Return the gradient noise scale over the loss, and the power law through it."""
    found = tree["critical_batch"]
    there = np.isfinite(runs["noise_scale"])
    sizes = np.log(runs[runs.counts[0]][there])
    with panel("held-out loss, nats a token", "gradient noise scale, tokens") as (figure, axes):
        shade = COLOURS((sizes - sizes.min()) / max(np.ptp(sizes), 1e-9) * 0.9)
        axes.scatter(runs["loss"][there], runs["noise_scale"][there], s=10, color=shade)
        axes.plot(found["losses"], found["tokens"], color=ACCENT)
        axes.set_xscale("log")
        axes.set_yscale("log")
    alt = (
        f"Gradient noise scale of {found['points']} gradients, dark for small networks: as the loss to the power of "
        f"{interval(found['slope'])}."
    )
    return Chart("scaling-noise", "The gradient noise scale", alt, figure)


def save(found: list[Chart], folder: Path) -> list[Path]:
    """Write each figure as an SVG file: the same bytes for the same figure."""
    paths = []
    for chart in found:
        path = folder / f"{chart.name}.svg"
        with writing(path), matplotlib.rc_context({**STYLE, "svg.hashsalt": chart.name}):
            folder.mkdir(parents=True, exist_ok=True)
            chart.figure.savefig(path, metadata={"Date": None})
        paths.append(path)
    return paths
