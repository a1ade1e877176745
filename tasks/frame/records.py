"""What a stage tells: its numbers, to DVC (metrics/NAME.json, plots/NAME.csv) and to MLflow alike, and lines on the
terminal; and of an output that params.yaml leaves out, why it is not there. Rank 0 alone tells them.

A stage that stands for one of many has a folder with them: the metrics of family@bert are metrics/family/bert.json.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.runtime.errors import MUCH, InputError
from jokbo.runtime.files import atomic_write_file, atomic_write_folder, write_text
from jokbo.runtime.tracking import flat
from tasks.frame.paths import METRICS, PLOTS
from tasks.frame.stage import Stage, leads

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def write_metrics(stage: Stage[Any], record: DataclassInstance | dict[str, Any]) -> None:
    """Write metrics/NAME.json, and its numbers to MLflow.

    Raises InputError if one is not finite: JSON has neither NaN nor infinity.
    """
    write_numbers(stage, _file(METRICS, stage, "json"), asdict(record) if is_dataclass(record) else record)


def write_numbers(stage: Stage[Any], path: Path, metrics: dict[str, Any]) -> None:
    """Write a file of metrics, and its numbers to MLflow. Raises InputError if one is not finite."""
    if not leads():
        return
    numbers = {name: value for name, value in flat(metrics, "/").items() if isinstance(value, (int, float))}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise InputError(
                f"{stage.name}: the metric {name} is {value}: curves in {PLOTS} and in MLflow show where it went "
                "wrong"
            )
    write_text(path, json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    stage.run.log(numbers)


def write_curves(stage: Stage[Any], curves: dict[str, list[dict[str, float]]]) -> None:
    """Write plots/NAME.csv: a row a step of each training, whose name stands in the column `part`."""
    if not leads():
        return
    columns = dict.fromkeys(column for rows in curves.values() for row in rows for column in row)
    with atomic_write_file(_file(PLOTS, stage, "csv")) as file:
        writer = csv.DictWriter(file, ["part", *columns], lineterminator="\n")
        writer.writeheader()
        for part, rows in curves.items():
            writer.writerows({"part": part, **row} for row in rows)


def say(stage: Stage[Any], lines: Iterable[str]) -> None:
    """Print the lines to stderr, each with the stage before it."""
    for line in lines:
        if leads():
            print(f"jokbo: {stage.name}: {line}", file=sys.stderr, flush=True)


def note(stage: Stage[Any], name: str, left_out: int, whole: int, what: str) -> None:
    """Log how many were left out as left_out/NAME, and say so if it is much; `what` says of what and why."""
    stage.run.log({f"left_out/{name}": left_out})
    if left_out > MUCH * whole:
        say(stage, [f"{left_out:,} of {whole:,} {what} ({left_out / whole:.0%})"])


def note_few(stage: Stage[Any], what: str, asked: int, found: int) -> None:
    """Say so if fewer are there than are asked for."""
    if found < asked:
        say(stage, [f"{asked:,} {what} are asked for, and there are {found:,}"])


def leave_out(path: Path, why: str) -> None:
    """Write a folder that holds nothing but a README.md with the reason: DVC wants every output to be there."""
    if leads():
        with atomic_write_folder(path) as folder:
            (folder / "README.md").write_text(f"# {path}\n\nThere is nothing here: {why}.\n", "utf-8")


def is_there(model: Path) -> bool:
    """Return whether a folder holds a model, and not the reason why there is none."""
    return (model / "config.json").is_file()


def _file(folder: Path, stage: Stage[Any], suffix: str) -> Path:
    return folder / f"{stage.name.replace('@', '/')}.{suffix}"
