"""The chain as a picture, docs/chain.svg: its stages, and a number of a run for each. `make results` draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from jokbo.evaluation.evaluation import Evaluation

WIDTH, HEIGHT, BOX, TALL = 960, 430, 190, 66
COLUMNS, ROWS = (-80, 150, 380, 610), (24, 128, 232, 336)
KINDS = {"data": "#e8f1fb", "model": "#e7f5ec", "people": "#fdf3e1", "result": "#f4eafa"}
# stage: column, row, kind
PLACES = {
    "fetch": (0, 0, "data"),
    "prepare": (1, 0, "data"),
    "tokenize": (2, 0, "data"),
    "prompts": (3, 0, "data"),
    "pretrain": (0, 1, "model"),
    "tasks": (0, 2, "model"),
    "finetune": (1, 1, "model"),
    "distill": (2, 1, "model"),
    "preferences": (1, 2, "people"),
    "reward": (2, 2, "model"),
    "align": (3, 2, "model"),
    "evaluate": (3, 3, "result"),
    "report": (2, 3, "result"),
}
ROW_ARROWS = (
    ("fetch", "prepare"),
    ("prepare", "tokenize"),
    ("tokenize", "prompts"),
    ("pretrain", "finetune"),
    ("finetune", "distill"),
    ("preferences", "reward"),
    ("reward", "align"),
    ("evaluate", "report"),
)
# from the lower edge of one to the upper edge of the other
DOWN_ARROWS = (
    ("tokenize", "pretrain"),
    ("pretrain", "tasks"),
    ("finetune", "preferences"),
    ("prompts", "align"),
    ("align", "evaluate"),
)


def numbers(metrics: Mapping[str, Any], evaluation: Evaluation) -> dict[str, str]:
    """Return a line for each stage, from the metrics of the stages and what `evaluate` found."""
    of = {name: metrics[name] for name in PLACES if name in metrics}
    rows = sum(of["fetch"]["rows"].values())
    documents = sum(found["documents"] for found in of["prepare"]["sources"].values())
    policy = of["finetune"]["policy"]
    smaller = 1 - of["distill"]["parameters"] / of["pretrain"]["parameters"]
    accuracy = of["reward"]["human"]["accuracy"]
    classified = of["tasks"]["tasks"]["rotten_tomatoes"]["classifiers"]["pretrained"]["test"]["accuracy"]
    return {
        "fetch": f"{rows:,} texts, pinned",
        "prepare": f"{documents:,} documents",
        "tokenize": f"{of['tokenize']['tokens/train'] / 1e6:.1f}M tokens",
        "prompts": "cut once for all stages",
        "pretrain": f"{of['pretrain']['validation']['bits_per_byte']:.2f} bits a byte",
        "tasks": f"{classified['value']:.0%} right on sentences",
        "finetune": f"perplexity {policy['after']['perplexity']:.0f}",
        "distill": f"{smaller:.0%} fewer parameters",
        "preferences": f"{_by_people(of['preferences']):,} by people",
        "reward": f"{accuracy['value']:.0%} right on people's",
        "align": f"KL {of['align']['kl']['last']:.1f} nats",
        "evaluate": _judged(evaluation),
        "report": "one page of HTML",
    }


def _judged(evaluation: Evaluation) -> str:
    main = evaluation.main
    before, after = (main.models[name].good if main else None for name in ("supervised", "aligned"))
    return "no judge of good ones" if before is None or after is None else f"{before:.0%} to {after:.0%} good"


def _by_people(preferences: Mapping[str, Any]) -> int:
    labellers = preferences["labellers"].values()
    return sum(found["train"] for found in labellers if found["kind"] == "ratings")


def svg(lines: Mapping[str, str]) -> str:
    """Return the picture, with a line of text in each stage's box."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *(_arrow(_across(start, end)) for start, end in ROW_ARROWS),
        *(_arrow(_down(start, end)) for start, end in DOWN_ARROWS),
        *(_box(name, lines[name]) for name in PLACES),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _corner(name: str) -> tuple[int, int]:
    column, row, _ = PLACES[name]
    return COLUMNS[column] + 120, ROWS[row]


def _box(name: str, line: str) -> str:
    (x, y), color = _corner(name), KINDS[PLACES[name][2]]
    return (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{TALL}" rx="8" fill="{color}" stroke="#999"/>'
        f'<text x="{x + BOX / 2}" y="{y + 28}" text-anchor="middle" font-size="17" font-weight="bold" fill="#222">'
        f"{escape(name)}</text>"
        f'<text x="{x + BOX / 2}" y="{y + 50}" text-anchor="middle" font-size="14" fill="#444">{escape(line)}</text>'
    )


def _across(start: str, end: str) -> list[tuple[float, float]]:
    (x1, y1), (x2, _) = _corner(start), _corner(end)
    height = y1 + TALL / 2
    return [(x1 + BOX, height), (x2, height)] if x1 < x2 else [(x1, height), (x2 + BOX, height)]


def _down(start: str, end: str) -> list[tuple[float, float]]:
    (x1, y1), (x2, y2) = _corner(start), _corner(end)
    middle = (y1 + TALL + y2) / 2
    return [(x1 + BOX / 2, y1 + TALL), (x1 + BOX / 2, middle), (x2 + BOX / 2, middle), (x2 + BOX / 2, y2)]


def _arrow(points: list[tuple[float, float]]) -> str:
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="#555" stroke-width="1.6" marker-end="url(#tip)"/>'
