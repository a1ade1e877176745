"""Tell what the run found out, on one page. `python -m tasks.report`"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from jokbo import ancestry
from jokbo.errors import InputError
from jokbo.evaluation.report.report import Findings, charts, render, tables
from tasks.paths import ALIGNED, DATA_CARD, EVALUATION, FAMILY, METRICS, PLOTS, PROFILES, REPORT
from tasks.records import write_metrics
from tasks.stage import Stage, run_stage, timing

WITH_CURVES = ("pretrain", "finetune", "distill", "reward", "ppo")
STAGES = ("fetch", "prepare", "tokenize", *WITH_CURVES[:3], "preferences", *WITH_CURVES[3:], "evaluate")


def report(stage: Stage) -> None:
    findings = read_findings()
    page = render(findings)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(page, "utf-8")
    figures = [chart for section in charts(findings).values() for chart in section]
    shown = tables(findings)
    stage.run.artifact(REPORT)
    for chart in figures:
        stage.run.figure(chart.figure, f"figures/{chart.name}.png")
    for table in shown:
        stage.run.table(table.records(), f"tables/{table.name}.json")
    write_metrics(stage, {"figures": len(figures), "tables": len(shown)})


def read_findings() -> Findings:
    """What the stages left; InputError names a file that is not there or cannot be read."""
    curves: dict[str, list[dict[str, float]]] = {}
    for name in WITH_CURVES:
        for row in csv.DictReader(_read(PLOTS / f"{name}.csv").splitlines()):
            part = row.pop("part")
            training = name if part == name else f"{name}/{part}"
            numbers = {column: float(value) for column, value in row.items() if value}
            curves.setdefault(training, []).append(numbers)
    timings = {name: timing(name) for name in STAGES}
    speeds = timing("speed")  # evaluate's
    return Findings(
        evaluation=_json(EVALUATION / "evaluation.json"),
        samples=[json.loads(line) for line in _read(EVALUATION / "samples.jsonl").splitlines()],
        metrics={name: _json(METRICS / f"{name}.json") for name in STAGES},
        curves=curves,
        ancestry=ancestry.read(ALIGNED),
        timings={name: _json(path)["seconds"] for name, path in timings.items() if path.is_file()},
        speeds=_json(speeds) if speeds.is_file() else {},
        card=_json(DATA_CARD),
        compared=_json(FAMILY / "table.json") if (FAMILY / "table.json").exists() else {},
        profiles={path.stem: _json(path) for path in sorted(PROFILES.glob("*.json"))},
    )


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: not there: run the stages before the report first (`dvc repro`)") from None


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON ({error}): run the stage that writes it again") from error


if __name__ == "__main__":
    run_stage("report", report)
