"""Tables in markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int | None = None) -> str:
    """Return a table, its first `text_columns` (all, if not given) aligned as text and the others as numbers."""
    text = len(header) if text_columns is None else text_columns
    rules = ["---"] * text + ["---:"] * (len(header) - text)
    cells = [header, rules, *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
