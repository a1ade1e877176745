"""How a comparison is shown: tables for a terminal of any width, and JSON for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jokbo.team.comparing.differences import HASHED, Comparison, Difference
from jokbo.team.comparing.facts import ASPECTS, SEVERAL, WHOLE

NOTHING = "nothing differs"
SHORT = 10  # characters of a hash that are shown
ABSENT = "-"
VERDICTS = {True: "a difference", False: "within the interval", None: ""}


def json_of(comparison: Comparison) -> dict[str, Any]:
    """Return all of a comparison for machines."""
    return {**asdict(comparison), "differs": bool(comparison.found)}


def show(comparison: Comparison, console: Console) -> None:
    """Print what differs, a table an aspect, and what could not be compared."""
    for aspect in ("stages", *ASPECTS):
        if rows := [each for each in comparison.found if each.aspect == aspect]:
            console.print(_table(aspect, rows, comparison))
    if not comparison.found:
        console.print(Text(f"{comparison.left} and {comparison.right}: {NOTHING}"))
    for what, why in comparison.unknown.items():
        console.print(Text(f"not compared: {what}: {why}"))


def _table(aspect: str, rows: list[Difference], comparison: Comparison) -> Table:
    judged = aspect == "metrics" and any(row.beyond is not None or row.seeds for row in rows)
    several = len({row.stages for row in comparison.found}) > 1
    table = Table(box=box.SIMPLE_HEAD, title=aspect, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("", overflow="fold", ratio=None)
    for side in (comparison.left, comparison.right):
        table.add_column(Text(side), overflow="fold")
    if judged:
        table.add_column("beyond chance?")
    if several:
        table.add_column("stages", style="dim", overflow="fold")
    for row in rows:
        cells = [row.name, shown(row, row.left), shown(row, row.right)]
        cells += [_verdict(row)] * judged + [_stages(row)] * several
        table.add_row(*map(Text, cells))
    return table


def shown(row: Difference, value: Any) -> str:
    """Return a value as a cell."""
    if value is None:
        return ABSENT
    if row.aspect in HASHED:
        return "one a seed" if SEVERAL in value else str(value)[:SHORT]
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _verdict(row: Difference) -> str:
    within = "" if row.reach is None else f"\N{PLUS-MINUS SIGN}{row.reach:.2g}"
    seeds = f"{row.seeds[0]} and {row.seeds[1]} seeds" if row.seeds else ""
    beside = "; ".join(filter(None, (within, seeds)))
    return f"{VERDICTS[row.beyond] or 'no verdict'} ({beside})" if beside else ""


def _stages(row: Difference) -> str:
    first, *more = [stage for stage in row.stages if stage != WHOLE] or row.stages
    return f"{first} and {len(more)} more" if more else first
