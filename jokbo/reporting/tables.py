"""Tables of results, and how numbers are printed in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jokbo.reporting import markdown

DASH, TIMES, PLUS_MINUS = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}", "\N{PLUS-MINUS SIGN}"


@dataclass(frozen=True)
class Table:
    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]  # the first cell names the row

    def records(self) -> list[dict[str, str]]:
        """Return the rows as MLflow wants a table."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]

    def markdown(self, text_columns: int = 1) -> str:
        """Return the table without its caption, its first `text_columns` aligned as text and the others as numbers."""
        return markdown.table(self.header, self.rows, text_columns) + "\n"


def share(value: float) -> str:
    return f"{value:.0%}"


def percent(value: float) -> str:
    return f"{value:.1%}"


def number(value: Any) -> str:
    """Return three digits or all of a whole number; a dash where there is none."""
    if value is None:
        return DASH
    if not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def large(value: float | None) -> str:
    """Return three digits and k, M, G, T or P for 10 ** 3 ... 10 ** 15; a dash where there is none."""
    if value is None:
        return DASH
    for letter, unit in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * unit:
            return f"{number(value / unit)}{letter}"
    return f"{value:.0f}"
