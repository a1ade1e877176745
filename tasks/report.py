"""Tell what the run found out, on one page. `python -m tasks.report`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jokbo.evaluation.results import Evaluation
from jokbo.reporting.publish import publish, read, read_curves, read_json
from jokbo.reporting.report import Findings, charts, render, tables
from jokbo.runtime import ancestry
from jokbo.runtime.files import read_if_there
from tasks.frame.paths import ALIGNED, DATA_CARD, EVALUATION, METRICS, PLOTS, PROFILES, REPORT
from tasks.frame.records import write_metrics
from tasks.frame.stage import Stage, run_stage, timing

REMEDY = "run the stages before the report first (`dvc repro`)"
WITH_CURVES = ("pretrain", "finetune", "distill", "reward", "ppo")
STAGES = (
    "fetch",
    "prepare",
    "tokenize",
    "prompts",
    *WITH_CURVES[:3],
    "preferences",
    *WITH_CURVES[3:],
    "evaluate",
)


def report(stage: Stage) -> None:
    findings = read_findings()
    figures = [chart for section in charts(findings).values() for chart in section]
    shown = tables(findings)
    publish(stage.run, {REPORT: render(findings)}, figures, shown)
    write_metrics(stage, {"figures": len(figures), "tables": len(shown)})


def read_findings() -> Findings:
    """What the stages left; InputError names a file that is not there or cannot be read."""
    curves = {
        name if part == name else f"{name}/{part}": rows
        for name in WITH_CURVES
        for part, rows in read_curves(PLOTS / f"{name}.csv", REMEDY).items()
    }
    timings = {name: timing(name) for name in STAGES}
    speeds = timing("speed")  # evaluate's
    return Findings(
        evaluation=Evaluation.load(EVALUATION / "evaluation.json"),
        samples=[json.loads(line) for line in read(EVALUATION / "samples.jsonl", REMEDY).splitlines()],
        metrics={name: _json(METRICS / f"{name}.json") for name in STAGES},
        curves=curves,
        ancestry=ancestry.records_in(ALIGNED.parent),
        aligned=ancestry.Record.load(ALIGNED).weights,
        timings={name: found["seconds"] for name, path in timings.items() if (found := read_if_there(path))},
        speeds=_json(speeds) if speeds.is_file() else {},
        card=_json(DATA_CARD),
        profiles={path.stem: _json(path) for path in sorted(PROFILES.glob("*.json"))},
    )


def _json(path: Path) -> Any:
    return read_json(path, REMEDY)


if __name__ == "__main__":
    run_stage("report", report)
