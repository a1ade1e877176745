"""The runs that scaling laws are fitted to, and the CSV file that they are read from.

Columns, in any order: `parameters` (all of them) or `parameters_without_embeddings`, or both; `tokens` or `flops`, or
both (the one that is missing follows from flops = 6 parameters tokens); `loss`, nats a token on held-out text. And,
where there are any, `run`: rows of one name are one run's training curve, of which the last is its result; and
`noise_scale`, the gradient noise scale in tokens.

Shape letter: R rows.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jokbo.runtime.errors import InputError
from jokbo.scaling.counting import FLOPS_EACH

Count = Literal["parameters", "parameters_without_embeddings"]  # how parameters are counted
COUNTS: tuple[Count, Count] = ("parameters", "parameters_without_embeddings")
COLUMNS = (*COUNTS, "tokens", "flops", "loss", "noise_scale")
LEAST = {"parameters": 1e3, "parameters_without_embeddings": 1e2, "tokens": 1e3, "flops": 1e6}
LARGEST_LOSS = math.log(1e6)  # of guessing among a million tokens
OFF = 5.0  # times by which flops may differ from 6 N D: attention, recomputation
OFF_WITHOUT = 500.0  # the same where embeddings are not counted: they may be most of a small network
SHOWN = 10  # columns that a message names


@dataclass(frozen=True)
class Runs:
    """Rows of runs: of each run its result, and, if there are several rows of it, what it came to before."""

    columns: Mapping[str, np.ndarray]  # float [R] each, NaN where a row has none
    names: tuple[str, ...]  # of each row's run
    last: np.ndarray  # bool [R]: whether the row is its run's result

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]

    def has(self, column: str) -> bool:
        """Return whether every row has a value in the column."""
        return column in self.columns and bool(np.isfinite(self.columns[column]).all())

    @property
    def counts(self) -> list[Count]:
        """The ways in which parameters are counted."""
        return [name for name in COUNTS if self.has(name)]

    @property
    def results(self) -> Runs:
        """The runs' results alone."""
        return self.of(np.flatnonzero(self.last))

    @property
    def are_curves(self) -> bool:
        """Whether there is more of a run than its result."""
        return not self.last.all()

    def of(self, rows_K: np.ndarray) -> Runs:
        """Return these rows, by their numbers; one may come several times."""
        columns = {name: values_R[rows_K] for name, values_R in self.columns.items()}
        return replace(
            self, columns=columns, names=tuple(self.names[row] for row in rows_K), last=self.last[rows_K]
        )

    def counted(self, count: Count) -> Counted:
        """Return the rows as a law takes them, with FLOPs as 6 N D of the parameters that are counted so."""
        return Counted(self[count], self["tokens"], self["loss"])


@dataclass(frozen=True)
class Counted:
    """Rows by one way of counting parameters: float [R] each."""

    parameters: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray

    @property
    def flops(self) -> np.ndarray:
        return FLOPS_EACH * self.parameters * self.tokens

    def of(self, rows_K: np.ndarray) -> Counted:
        return Counted(self.parameters[rows_K], self.tokens[rows_K], self.loss[rows_K])

    def __len__(self) -> int:
        return len(self.loss)


def read(path: Path) -> tuple[Runs, list[str]]:
    """Return the runs of a CSV file, and the names of columns that are not read. InputError for what is no run."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            check_header(header, path)
            rows = [_row(row, f"{path}: line {reader.line_num}") for row in reader]
    except FileNotFoundError:
        raise InputError(f"{path}: not there: name a CSV file of runs") from None
    except (UnicodeDecodeError, csv.Error, IsADirectoryError) as error:
        raise InputError(f"{path}: no CSV file in UTF-8 ({error}): save it as one") from error
    ignored = [name for name in header if name not in (*COLUMNS, "run")]
    return of_rows(rows, str(path)), ignored


def check_header(header: Sequence[str], path: Path) -> None:
    """Raise InputError if a column that is needed is missing, or stands twice."""
    shown = ", ".join(header[:SHOWN]) or "none"
    for alternatives in (COUNTS, ("tokens", "flops"), ("loss",)):
        if not any(name in header for name in alternatives):
            raise InputError(f"{path}: no column {' or '.join(alternatives)}: it has {shown}; name one so")
    for name in COLUMNS:
        if header.count(name) > 1:
            raise InputError(f"{path}: {header.count(name)} columns {name}: leave all but one out")


def _row(row: Mapping[str, str | None], where: str) -> dict[str, Any]:
    """Return what a line of the file says: numbers by column, and the run."""
    found: dict[str, Any] = {"run": (row.get("run") or "").strip(), "where": where}
    if None in row:
        raise InputError(f"{where}: more cells than columns: correct the line")
    for name in COLUMNS:
        if name not in row:
            continue
        cell = (row[name] or "").strip()
        if name == "noise_scale" and not cell:
            continue  # where it could not be told
        try:
            found[name] = float(cell)
        except ValueError:
            raise InputError(f"{where}: {name} is {cell[:40]!r}: write a number") from None
    return found


def of_rows(rows: Iterable[Mapping[str, Any]], where: str) -> Runs:
    """Return runs of rows: numbers by column, and `run` where it has a name; checked for units and signs.

    InputError names the row's `where`, or the file's.
    """
    checked = [_checked(row, str(row.get("where", where))) for row in rows]
    if not checked:
        raise InputError(f"{where}: no runs in it: give it a row a run")
    names = [str(row.get("run") or f"row {number}") for number, row in enumerate(checked, 1)]
    columns = {
        name: np.array([row.get(name, np.nan) for row in checked], dtype=float)
        for name in COLUMNS
        if any(name in row for row in checked)
    }
    last = np.zeros(len(names), dtype=bool)
    for run in dict.fromkeys(names):
        rows_K = np.array([number for number, name in enumerate(names) if name == run])
        for count in COUNTS:
            if count in columns and len({*columns[count][rows_K]}) > 1:
                few = " and ".join(f"{value:g}" for value in sorted({*columns[count][rows_K]})[:2])
                raise InputError(
                    f"{where}: rows of the run {run} have {count} of {few}: give each training a name of its own"
                )
        last[rows_K[columns["tokens"][rows_K].argmax()]] = True
    return Runs(columns, tuple(names), last)


def _checked(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a row with tokens and flops both. InputError for a value whose unit or sign cannot be right."""
    for name in COLUMNS:
        value = row.get(name)
        if value is None:
            continue
        if not math.isfinite(value):
            raise InputError(
                f"{where}: {name} is {value}: leave out runs that have none, such as diverged ones"
            )
        if value <= 0:
            raise InputError(f"{where}: {name} is {value:g}: it must be above 0")
        if value < LEAST.get(name, 0):
            raise InputError(
                f"{where}: {name} is {value:g}: write the number itself, not millions, billions or petaflop-days"
            )
    if row["loss"] > LARGEST_LOSS:
        raise InputError(
            f"{where}: loss is {row['loss']:g}: it must be in nats a token; a perplexity is exp of that"
        )
    whole = dict(row)
    count = COUNTS[0] if COUNTS[0] in row else COUNTS[1]
    product = FLOPS_EACH * row[count]
    whole.setdefault("tokens", row.get("flops", np.nan) / product)
    whole.setdefault("flops", product * whole["tokens"])
    ratio, most = whole["flops"] / (product * whole["tokens"]), OFF if count == COUNTS[0] else OFF_WITHOUT
    if not 1 / OFF <= ratio <= most:
        raise InputError(
            f"{where}: flops is {whole['flops']:g}, but 6 {count} tokens is {product * whole['tokens']:g}: one of the "
            "three is in another unit"
        )
    return whole
