"""What a fit leaves: its tree as JSON, in words, and the table of a sweep, which git keeps."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.runtime import environment, kept
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_if_there, read_json, write_text
from jokbo.scaling import claims, fit, tables
from jokbo.scaling.runs import Runs, of_rows

if TYPE_CHECKING:
    from jokbo import params

Row = Mapping[str, Any]
FIT = "fit.json"
RUNS, TABLE = Path("scaling/runs.csv"), Path("scaling/table.json")
# of runs.csv; what jokbo.scaling.runs does not read is for people
COLUMNS = (
    "run",
    "size",
    "layers",
    "hidden_size",
    "heads",
    "parameters",
    "parameters_without_embeddings",
    "steps",
    "learning_rate",
    "tokens",
    "flops",
    "flops_counted",
    "loss",
    "noise_scale",
)


def fit_of(runs: Runs, samples: int, seed: int, where: str) -> dict[str, Any]:
    """Return everything that is fitted to runs, and the claims. InputError as fit.fitted."""
    tree = fit.fitted(runs, samples, seed, where)
    return {**tree, "claims": claims.claims(tree, runs).records()}


def told(tree: Row, runs: Runs) -> list[str]:
    """Return a fit in words, as markdown."""
    shown = [*tables.tables(tree), claims.claims(tree, runs)]
    parts = [
        f"{each.caption}.\n\n{each.markdown(5 if each.name == 'claims' else 1).strip()}\n" for each in shown
    ]
    return [*parts, tables.MEANING]


def save(tree: Row, path: Path) -> None:
    """Write a fit."""
    write_text(path, json.dumps(tree, indent=1, sort_keys=True) + "\n")


def load(path: Path) -> dict[str, Any]:
    """Return a fit that was saved, by itself or in the table of a sweep. InputError if the file holds none."""
    tree = read_json(path, "run `python -m flows.scaling`, or name the fit.json of `jokbo scaling fit --out`")
    tree = tree.get("fit", tree) if isinstance(tree, dict) else {}
    if not (isinstance(tree, dict) and tree.get("counts") and "flops" in tree):
        raise InputError(f"{path}: no fit in it: name the fit.json of `jokbo scaling fit --out`")
    return tree


def rows_of(row: Row) -> list[dict[str, Any]]:
    """Return the rows of runs.csv of a run: those of its marks, and its result."""
    alike = {name: row[name] for name in COLUMNS if name in row}
    tokens_a_step = row["tokens"] / row["steps"]
    marks = []
    for mark in row["marks"]:
        share = mark["tokens"] / row["tokens"]
        flops = {name: row[name] * share for name in ("flops", "flops_counted")}
        marks.append({**alike, **flops, **mark, "steps": round(mark["tokens"] / tokens_a_step)})
    return [*marks, alike]


def text_of(rows: Sequence[Row]) -> str:
    """Return runs.csv of runs."""
    file = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerows(
            {name: "" if value is None else value for name, value in each.items()} for each in rows_of(row)
        )
    return file.getvalue()


def write(
    settings: params.Scaling, rows: Sequence[Row], tried: Sequence[Row], failed: Mapping[str, str]
) -> list[str]:
    """Write what a sweep came to, scaling/runs.csv and scaling/table.json; return it in words.

    `tried` are the rows of the search for learning rates; `failed` says why of each run that has none. InputError if no
    law can be fitted: the runs are written before.
    """
    write_text(RUNS, text_of(rows))
    runs = of_rows([each for row in rows for each in rows_of(row)], str(RUNS))
    tree = fit_of(runs, settings.bootstrap, settings.seed, str(RUNS))
    found = {
        "fit": tree,
        "rates": [{name: row[name] for name in ("size", "learning_rate", "loss")} for row in tried],
        "flops_counted": {row["size"]: row["flops_counted"] / row["flops"] for row in rows},
        "failed": dict(failed),
    }
    before = read_if_there(TABLE) or {}
    measured = before.pop(kept.MEASURED, None)
    if before != json.loads(json.dumps(found)) or measured is None:
        measured = {"date": time.strftime("%Y-%m-%d"), "machine": environment.machine(environment.collect())}
    save({**found, kept.MEASURED: measured}, TABLE)
    return [*told(tree, runs), f"{len(rows)} runs: {RUNS}; what was fitted to them: {TABLE}"]
