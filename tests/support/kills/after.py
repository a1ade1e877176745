"""What a project is like after it came to its end, held to one that ran undisturbed."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from ruamel.yaml import YAML

from jokbo.runtime import tracking
from tests.support.kills.round import HANG_SECONDS, Round

VARYING = ("reports/report.html",)  # shows times
LOAD = "system/"  # metrics of how busy the machine was


@dataclass(frozen=True)
class Undisturbed:
    """What a project that ran undisturbed made, by path, and what each of its stages logged."""

    hashes: Mapping[str, str]
    logged: Mapping[str, Mapping[str, Any]]


def undisturbed(folder: Path) -> Undisturbed:
    """Return what a folder holds that ran undisturbed."""
    client = MlflowClient(f"sqlite:///{folder / '.jokbo' / 'mlflow.db'}")
    return Undisturbed(
        hashes(folder), {stage: logged(client, run) for stage, run in live_runs(client, folder)}
    )


def hashes(folder: Path) -> dict[str, str]:
    """Map each output that was made here to DVC's hash of it, from dvc.lock."""
    stages = YAML(typ="safe").load(folder / "dvc.lock")["stages"]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    return {path: md5 for path, md5 in outs.items() if path not in VARYING and (folder / path).exists()}


def live_runs(client: MlflowClient, folder: Path) -> Iterator[tuple[str, Run]]:
    """Yield the stages of a folder's project and their live runs in MLflow."""
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None, "nothing was logged"
    here = str(folder.resolve())
    for run in client.search_runs([experiment.experiment_id], max_results=10_000):
        tags = run.data.tags
        if tracking.SUPERSEDED not in tags and tags["jokbo.folder"] == here and tags["stage"] != "pipeline":
            yield tags["stage"], run


def logged(client: MlflowClient, run: Run) -> dict[str, Any]:
    """Return what a run holds that is alike whenever it runs: parameters, steps of metrics, artifacts, data sets."""
    id, metrics = run.info.run_id, [name for name in run.data.metrics if not name.startswith(LOAD)]
    return {
        "params": dict(run.data.params),
        "steps": {
            name: sorted(point.step for point in client.get_metric_history(id, name)) for name in metrics
        },
        "artifacts": sorted(_artifacts(client, id)),
        "inputs": sorted([one.dataset.name, one.dataset.digest] for one in run.inputs.dataset_inputs),
    }


def faults_of(round: Round, expected: Undisturbed) -> list[str]:
    """Return what is not as after an undisturbed run."""
    found, faults = hashes(round.folder), []
    different = sorted(path for path in expected.hashes if found.get(path) != expected.hashes[path])
    if different:
        faults.append(f"other bytes: {', '.join(different)}")
    again = subprocess.run(
        round.again(),
        cwd=round.folder,
        env=round.environment,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    if again.returncode or "Nothing to do" not in again.stdout:
        faults.append(f"something is left to do: {again.stdout[-300:]} {again.stderr[-300:]}")
    faults += [f"{path} is left" for path in left(round.folder)]
    client = MlflowClient(round.store())
    runs = list(live_runs(client, round.folder))
    count = Counter(stage for stage, _ in runs)
    faults += [
        f"{count[stage]} live MLflow runs of {stage}" for stage in expected.logged if count[stage] != 1
    ]
    for stage, run in runs:
        if run.info.status != "FINISHED":
            faults.append(f"the MLflow run of {stage} is {run.info.status}")
        if count[stage] == 1:
            faults += different_logs(stage, logged(client, run), expected.logged[stage])
    return faults


def different_logs(stage: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a stage's run lacks, or has twice, beside what an undisturbed one logged."""
    steps = found["steps"]
    for name in sorted({*steps, *expected["steps"]}):
        here, there = Counter(steps.get(name, [])), Counter(expected["steps"].get(name, []))
        if lost := sorted((there - here).elements()):
            yield f"{stage}: {name} is lost at {lost}"
        if more := sorted((here - there).elements()):
            yield f"{stage}: {name} twice, or too much, at {more}"
    for name in ("params", "artifacts", "inputs"):
        if found[name] != expected[name]:
            shown = json.dumps([found[name], expected[name]])[:600]
            yield f"{stage}: other {name}: {shown}"


def left(folder: Path) -> list[Path]:
    """Return what killed processes left that should be gone: what was not sent, and half-written files."""
    state = folder / ".jokbo"
    return [*(state / "runs").glob("*"), *folder.glob("models/.*.partial"), *folder.glob("data/.*.partial")]


def _artifacts(client: MlflowClient, id: str, folder: str | None = None) -> Iterator[str]:
    for each in client.list_artifacts(id, folder):
        if each.is_dir:
            yield from _artifacts(client, id, each.path)
        else:
            yield each.path
