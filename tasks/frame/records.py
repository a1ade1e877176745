"""The numbers of a stage, to DVC (metrics/NAME.json, plots/NAME.csv) and to MLflow alike; rank 0 writes them.

A stage that stands for one of many has a folder with them: the metrics of family@bert are metrics/family/bert.json.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import whole_file, write_text
from jokbo.runtime.tracking import flat
from tasks.frame.paths import METRICS, PLOTS
from tasks.frame.stage import Stage, leads


def write_metrics(stage: Stage, metrics: dict[str, Any]) -> None:
    """Writes metrics/NAME.json, numbers by name (nested where that reads better). Raises InputError of one that is no
    number: JSON has neither NaN nor infinity."""
    if not leads():
        return
    numbers = {name: value for name, value in flat(metrics).items() if isinstance(value, (int, float))}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise InputError(
                f"{stage.name}: the metric {name} is {value}: curves in {PLOTS} and in MLflow show where it went "
                "wrong"
            )
    write_text(_file(METRICS, stage, "json"), json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    stage.run.log(numbers)


def write_curves(stage: Stage, curves: dict[str, list[dict[str, float]]]) -> None:
    """Writes plots/NAME.csv: a row a step of each training, whose name stands in the column `part`."""
    if not leads():
        return
    columns = dict.fromkeys(column for rows in curves.values() for row in rows for column in row)
    with whole_file(_file(PLOTS, stage, "csv")) as file:
        writer = csv.DictWriter(file, ["part", *columns], lineterminator="\n")
        writer.writeheader()
        for part, rows in curves.items():
            writer.writerows({"part": part, **row} for row in rows)


def _file(folder: Path, stage: Stage, suffix: str) -> Path:
    return folder / f"{stage.name.replace('@', '/')}.{suffix}"
