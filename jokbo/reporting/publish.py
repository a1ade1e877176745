"""What ends in a page: reading what stages measured, and leaving page, figures and tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jokbo.reporting.figures import Chart
from jokbo.reporting.tables import Table
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import write_text

if TYPE_CHECKING:
    from jokbo.runtime.tracking import Run


def publish(run: Run, pages: Mapping[Path, str], charts: Iterable[Chart], tables: Iterable[Table]) -> None:
    """Write the pages, and put them into the MLflow run with every figure and table by itself."""
    for path, page in pages.items():
        write_text(path, page)
        run.artifact(path)
    for chart in charts:
        run.figure(chart.figure, f"figures/{chart.name}.png")
    for table in tables:
        run.table(table.records(), f"tables/{table.name}.json")


def read(path: Path, remedy: str) -> str:
    """Return a file's text. InputError, with what to do, if it is not there."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: not there: {remedy}") from None


def read_curves(path: Path, remedy: str) -> dict[str, list[dict[str, float]]]:
    """Return the rows of each training in plots/NAME.csv, by its part, and of each row the numbers that are there."""
    found: dict[str, list[dict[str, float]]] = {}
    for row in csv.DictReader(read(path, remedy).splitlines()):
        rows = found.setdefault(row.pop("part"), [])
        rows.append({column: float(value) for column, value in row.items() if value})
    return found
