"""The numbers of a stage, to DVC (metrics/NAME.json, plots/NAME.csv) and to MLflow alike; rank 0 writes them."""

from __future__ import annotations

import csv
import json
from typing import Any

from jokbo.tracking import flat
from tasks.paths import METRICS, PLOTS
from tasks.stage import Stage, leads


def write_metrics(stage: Stage, metrics: dict[str, Any]) -> None:
    """Writes metrics/NAME.json, numbers by name (nested where that reads better)."""
    if not leads():
        return
    METRICS.mkdir(exist_ok=True)
    (METRICS / f"{stage.name}.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    stage.run.log({name: value for name, value in flat(metrics).items() if isinstance(value, (int, float))})


def write_curves(stage: Stage, curves: dict[str, list[dict[str, float]]]) -> None:
    """Writes plots/NAME.csv: a row a step of each training, whose name stands in the column `part`."""
    if not leads():
        return
    PLOTS.mkdir(exist_ok=True)
    columns = dict.fromkeys(column for rows in curves.values() for row in rows for column in row)
    with open(PLOTS / f"{stage.name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["part", *columns], lineterminator="\n")
        writer.writeheader()
        for part, rows in curves.items():
            writer.writerows({"part": part, **row} for row in rows)
