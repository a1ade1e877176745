"""`python -m benchmarks.orchestration`: what Prefect, DVC and MLflow add to the stages' own work.

Runs every stage anew in a clone of this folder's last commit, then once more with nothing to do. Slow: it is a
whole pipeline. `--last` reads the last pipeline of this folder from MLflow instead.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from rich.console import Console
from rich.table import Table

from jokbo.runtime import tracking
from tasks.frame.stage import state


def measure(folder: Path) -> None:
    """Run the pipeline twice in a fresh clone of `folder`, and print both."""
    with tempfile.TemporaryDirectory() as parent:
        clone = Path(parent) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(folder), str(clone)], check=True)
        os.chdir(clone)
        first = _timed()
        _print(first)
        print(f"A second run with nothing changed: {_timed():.1f} s")


def _timed() -> float:
    """Return the seconds that `python -m flows.pipeline` takes here, from start to exit."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "flows.pipeline"], check=True)
    return time.monotonic() - start


def _print(total: float | None = None) -> None:
    """Print the stages that the last pipeline ran, the seconds of their start and of their work, and what is left."""
    client = MlflowClient(tracking.local_store(state()))
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None  # a pipeline has run
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    pipeline = [run for run in runs if run.data.tags.get("stage") == "pipeline" and _children(runs, run)][-1]
    began, ended = pipeline.info.start_time, pipeline.info.end_time
    assert began is not None
    assert ended is not None
    total = total or (ended - began) / 1000
    table = Table("stage", "start", "work", title="what the orchestration adds, seconds")
    own = 0.0
    for run in _children(runs, pipeline):
        name, work = run.data.tags["stage"], run.data.metrics["seconds"]
        start = _start(name)
        own += start + work
        table.add_row(name, f"{start:.1f}", f"{work:.1f}")
    table.add_section()
    table.add_row("stages together", "", f"{own:.1f}")
    table.add_row("whole pipeline", "", f"{total:.1f}")
    table.add_row("added", "", f"{total - own:.1f} ({(total - own) / own:.1%} of the stages' own)")
    Console().print(table)


def _start(name: str) -> float:
    """Return the seconds that a process takes to import a stage's module, as it must without any orchestration."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import tasks.{name}"], check=True)
    return time.monotonic() - began


def _children(runs: list, parent) -> list:
    return [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--last", action="store_true", help="read the last pipeline of this folder")
    if parser.parse_args().last:
        _print()
    else:
        measure(Path.cwd())
