"""Tell what the run found out, on one page. `python -m tasks.report`"""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

from jokbo.evaluation.evaluation import Evaluation
from jokbo.finetuning.tasks.results import Tasks
from jokbo.reporting import headlines
from jokbo.reporting.data_card import DataCard
from jokbo.reporting.publish import publish, read, read_curves
from jokbo.reporting.report import Findings, charts, render, tables
from jokbo.runtime import ancestry, environment
from jokbo.runtime.files import atomic_write_folder, read_if_there, read_json
from tasks.frame import projects
from tasks.frame.paths import (
    ALIGNED,
    DATA_CARD,
    EVALUATION,
    FIGURES,
    METRICS,
    PLOTS,
    PROFILES,
    REPORT,
    RESULT,
)
from tasks.frame.records import write_numbers
from tasks.frame.stage import Stage, commit, run_stage, timing, version

REMEDY = "run the stages before the report first (`dvc repro`)"
json_of = partial(read_json, remedy=REMEDY)


def report(stage: Stage) -> None:
    findings = read_findings()
    figures = [chart for section in charts(findings).values() for chart in section]
    publish(stage.run, {REPORT: render(findings)}, figures, tables(findings))
    with atomic_write_folder(FIGURES) as folder:
        for chart in figures:
            chart.figure.savefig(folder / f"{chart.name}.png", metadata={"Software": None})
    write_numbers(stage, RESULT, headlines.numbers(findings.evaluation))


def inputs(folder: Path) -> list[str]:
    """Return the stages that leave a file in the folder (metrics, plots), as dvc.yaml names them."""
    outputs = (Path(out) for stage in projects.stages().values() for out in stage["outs"])
    return [out.stem for out in outputs if out.parent == folder]


def read_findings() -> Findings:
    """Return what the stages left; InputError names a file that is not there or cannot be read."""
    curves = {
        name if part == name else f"{name}/{part}": rows
        for name in inputs(PLOTS)
        for part, rows in read_curves(PLOTS / f"{name}.csv", REMEDY).items()
    }
    stages = inputs(METRICS)
    timings = {name: timing(name) for name in stages}
    speeds = timing("speed")  # evaluate's
    aligned = ancestry.Record.load(ALIGNED)
    return Findings(
        evaluation=Evaluation.load(EVALUATION / "evaluation.json"),
        samples=[json.loads(line) for line in read(EVALUATION / "samples.jsonl", REMEDY).splitlines()],
        metrics={name: json_of(METRICS / f"{name}.json") for name in stages},
        tasks=Tasks.load(METRICS / "tasks.json").tasks,
        curves=curves,
        ancestry=ancestry.records_in(ALIGNED.parent),
        aligned=aligned.weights,
        timings={name: found["seconds"] for name, path in timings.items() if (found := read_if_there(path))},
        speeds=json_of(speeds) if speeds.is_file() else {},
        card=DataCard.load(DATA_CARD),
        profiles={path.stem: json_of(path) for path in sorted(PROFILES.glob("*.json"))},
        made=_made(aligned),
    )


def _made(aligned: ancestry.Record) -> headlines.Made:
    """Return today, the commit that is checked out, and where the aligned model was trained."""
    where = aligned.environments[-1] if aligned.environments else environment.collect()
    packages, found = where["packages"], version()
    return headlines.Made(
        date=time.strftime("%-d %B %Y"),
        commit=commit(found) or found["git.commit"],
        machine=environment.machine(where),
        versions=", ".join(f"{name} {packages[name]}" for name in environment.SHOWN[:3] if name in packages),
    )


if __name__ == "__main__":
    run_stage("report", report)
