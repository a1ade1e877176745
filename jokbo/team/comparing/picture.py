"""A lineage as a picture: what it is of to the right, what that came from to its left, an arrow from each to what was
made of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jokbo.runtime.errors import InputError
from jokbo.team.comparing.lineage import Node, every

SUFFIXES = (".svg", ".png")
COLUMN, ROW = 2.3, 0.9  # inches from one box to the next
WIDTH, HEIGHT = 0.78, 0.6  # of a box, as a share of that
MODEL, DATA, RUN = "#e7f5ec", "#e8f1fb", "#f4eafa"  # colours
FIXED: Any = {"svg.hashsalt": "jokbo"}  # so that the same lineage gives the same file


def check(file: Path) -> None:
    """Raise InputError for a file that is no picture."""
    if file.suffix not in SUFFIXES:
        raise InputError(f"--picture {file}: its name must end with {' or '.join(SUFFIXES)}")


def save(node: Node, file: Path) -> None:
    """Draw the lineage into a file, .svg or .png."""
    check(file)
    nodes = {_id(each): each for each in every(node)}
    places = _places(node, nodes)
    columns, rows = (max(place[axis] for place in places.values()) + 1 for axis in (0, 1))
    with mpl.rc_context(FIXED):
        figure = Figure((COLUMN * columns, ROW * (rows + 1)))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(-0.55, columns - 0.45), ylim=(rows - 0.3, -1.3))
        for id, each in nodes.items():
            for parent in each.parents:
                _arrow(axes, places[_id(parent)], places[id])
        for id, each in nodes.items():
            _box(axes, places[id], each)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)


def _id(node: Node) -> tuple[str, str]:
    return node.name, node.hash


def _places(node: Node, nodes: dict[tuple[str, str], Node]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return column and row of each: parents stand left of all that was made of them, a column in its middle."""
    depth = {_id(node): 0}

    def descend(node: Node) -> None:
        for parent in node.parents:
            if depth.get(_id(parent), -1) <= depth[_id(node)]:
                depth[_id(parent)] = depth[_id(node)] + 1
                descend(nodes[_id(parent)])

    descend(node)
    deepest, highest = max(depth.values()), max([*depth.values()].count(level) for level in depth.values())
    places: dict[tuple[str, str], tuple[float, float]] = {}
    for level in range(deepest + 1):
        own = [id for id in nodes if depth[id] == level]
        for row, id in enumerate(own):
            places[id] = (deepest - level, row + (highest - len(own)) / 2)
    return places


def _box(axes: Axes, place: tuple[float, float], node: Node) -> None:
    lines = [node.name, *([f"by {node.stage}"] if node.stage else []), f"{node.of} {node.hash[:8]}"]
    colour = RUN if node.of == "key" else MODEL if node.name.partition("/")[0] == "models" else DATA
    x, y = place
    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    axes.add_patch(Rectangle(corner, WIDTH, HEIGHT, facecolor=colour, edgecolor="#999999", zorder=2))
    axes.text(x, y, "\n".join(lines), ha="center", va="center", fontsize=8, zorder=3)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow from box to box; one that passes others goes over them in a bow."""
    (x1, y1), (x2, y2) = start, end
    beside = x2 - x1 == 1
    ends = (
        [(x1 + WIDTH / 2, y1), (x2 - WIDTH / 2, y2)]
        if beside
        else [(x, y - HEIGHT / 2) for x, y in (start, end)]
    )
    bow = f"arc3,rad={0 if beside else -0.2}"
    style = {"arrowstyle": "-|>", "color": "#555555", "connectionstyle": bow, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=ends[1], xytext=ends[0], arrowprops=style, zorder=1)
