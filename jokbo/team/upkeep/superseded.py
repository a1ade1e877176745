"""Finished runs of MLflow that a later one of the same identity has superseded: found, and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jokbo.runtime.errors import InputError
from jokbo.runtime.mlflow_runs import SUPERSEDED
from jokbo.runtime.mlflow_store import EXPERIMENT, local_store, make_ready, sqlite_file
from jokbo.runtime.secrets import hidden


def runs(state: Path) -> list[str]:
    """Return the ids of such runs in the store of the project with this .jokbo. InputError if it is no file here: on a
    server are others' runs, too.
    """
    from mlflow import MlflowClient

    uri = local_store(state)
    if (file := sqlite_file(uri)) is None:
        raise InputError(f"--runs: {hidden(uri)} is no file of this machine: leave it out")
    if not file.exists():
        return []
    make_ready(file)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    found = client.search_runs([experiment.experiment_id], f"tags.`{SUPERSEDED}` != ''", max_results=50_000)
    return [run.info.run_id for run in found if run.info.status == "FINISHED"]


def remove(ids: Sequence[str], state: Path) -> None:
    """Have MLflow delete the runs: it shows them no more, and keeps them until somebody calls `mlflow gc`."""
    if not ids:
        return
    from mlflow import MlflowClient

    client = MlflowClient(local_store(state))
    for id in ids:
        client.delete_run(id)
