"""The runs of MLflow, as those who compare them find them: by id or the beginning of one, or as a registered model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jokbo.command import STATE
from jokbo.runtime import ancestry, tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.mlflow_store import EXPERIMENT, SHARED, VARIABLE, reason, say
from jokbo.runtime.secrets import hidden
from jokbo.runtime.tracking import KEY
from jokbo.team.comparing import facts
from jokbo.team.comparing.facts import WHOLE, Facts, Made

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Record

RUN = re.compile(r"[0-9a-f]{4,32}")
WHOLE_ID = re.compile(r"[0-9a-f]{32}")
REGISTERED = re.compile(r"([^@]+)@([^@/]+)|(.+)/(\d+)")  # name@alias, name/version
SEEDS = "seeds"  # the stage of a run of several seeds
TABLE, FIGURE, SEED = (
    "seeds.json",
    "figure",
    "seed ",
)  # its table, the first column, and how those of seeds begin
# of this moment and this machine's load, not of what was made
MOMENT = re.compile(r"system/|tokens_per_second/|(?:.*/)?seconds$")


def client() -> MlflowClient | None:
    """Return a client of the store that runs here log to; None where nothing was logged yet.

    InputError if it does not answer.
    """
    told = VARIABLE in os.environ or Path(SHARED).is_file()
    if not told and not (STATE / "mlflow.db").is_file():
        return None
    uri = tracking.local_store(STATE)
    from mlflow import MlflowClient

    found = MlflowClient(uri)
    try:
        found.search_experiments(max_results=1)
    except Exception as error:  # whatever MLflow, a driver or a server makes of it
        raise InputError(
            f"MLflow at {hidden(uri)} does not answer ({reason(error)}): start it, or mend it"
        ) from error
    return found


def commits() -> Callable[[str], str | None]:
    """Map the key of a stage to the commit that its MLflow run was made at, if MLflow is there and knows.

    InputError for a tracking URI that MLflow can make nothing of.
    """
    tracking.local_store(STATE)

    @cache
    def asked() -> MlflowClient | None:
        try:
            return client()
        except InputError as error:
            say(f"{error}: the commits are unknown")
            return None

    def commit(key: str) -> str | None:
        record = tracking.find_run(known, key) if (known := asked()) else None
        return record.data.tags.get("git.commit") if record else None

    return commit


def find(name: str) -> Record | None:
    """Return the run whose id begins so, or that made the registered model of this name; None if there is none.

    InputError if several runs begin so, or it was deleted.
    """
    if not (RUN.fullmatch(name) or REGISTERED.fullmatch(name)) or (store := client()) is None:
        return None
    if RUN.fullmatch(name):
        return _by_id(store, name)
    return _registered(store, name)


def describe(run: Record) -> Made:
    """Return what MLflow knows of a run. InputError if no stage of jokbo logged it."""
    tags, id = run.data.tags, run.info.run_id
    stage = tags.get("stage")
    if stage is None:
        raise InputError(
            f"MLflow's run {id}: no stage or flow of jokbo logged it: name one that `make ui` shows"
        )
    read = inputs(run)
    logged = {name: value for name, value in run.data.metrics.items() if not MOMENT.match(name)}
    found: dict[str, Any] = {"metrics": [logged], "parameters": dict(run.data.params)}
    if read:
        found |= facts.of_inputs(read, _weights_of_parents(tags.get(KEY, "")))
    else:
        found["code"] = {"the commit": {"git": tags.get("git.commit", "unknown")}}
    found["environment"] = facts.environment(environments(run))
    if stage == SEEDS and (table := _artifact(run, TABLE)):
        return _of_seeds(f"{stage} {id[:8]}", table, Facts(**{**found, "metrics": None}))
    return Made(f"{stage} {id[:8]}", {stage: Facts(**found)}, logged=True)


def _of_seeds(name: str, table: Mapping[str, Any], own: Facts) -> Made:
    """Return what the table of a run of seeds tells: of each stage, the figures of every seed."""
    seeds = [column for column in table["columns"] if column.startswith(SEED)]
    measured: dict[str, list[dict[str, float]]] = {}
    for row in (dict(zip(table["columns"], cells, strict=True)) for cells in table["data"]):
        stage, _, figure = row[FIGURE].partition("/")
        for seed, metrics in zip(seeds, measured.setdefault(stage, [{} for _ in seeds]), strict=True):
            metrics[figure] = row[seed]
    stages = {stage: Facts(metrics=metrics) for stage, metrics in measured.items()}
    return Made(f"{name} ({len(seeds)} seeds)", {WHOLE: own, **stages})


def finished(store: MlflowClient, stage: str, most: int = 50) -> list[Record]:
    """Return the last runs of a stage that came to their end, the newest first."""
    experiment = store.get_experiment_by_name(EXPERIMENT)
    wanted = f"tags.stage = '{stage}' and attributes.status = 'FINISHED'"
    order = ["attributes.start_time DESC"]
    found = experiment and store.search_runs(
        [experiment.experiment_id], wanted, max_results=most, order_by=order
    )
    return list(found or [])


def inputs(run: Record) -> dict[str, str]:
    """Return what a run read, path -> DVC's md5; nothing if MLflow has it not."""
    return _artifact(run, "inputs.json") or {}


def environments(run: Record) -> list[Mapping[str, Any]]:
    """Return every environment that a run was made in, the last one last; none if MLflow has them not."""
    return _artifact(run, "environment.json") or []


def _weights_of_parents(key: str) -> Mapping[str, str]:
    """Return the weights of the parents of what a stage of this identity made, if it is still here."""
    for _, record in ancestry.records_in(Path("models")).values():
        if record.key == key:
            return record.parents
    return {}


def _by_id(store: MlflowClient, name: str) -> Record | None:
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException

    if WHOLE_ID.fullmatch(name):
        try:
            found = [store.get_run(name)]
        except MlflowException:
            return None
    else:
        experiment = store.get_experiment_by_name(EXPERIMENT)
        wanted = f"attributes.run_id LIKE '{name}%'"
        found = experiment and store.search_runs(
            [experiment.experiment_id], wanted, ViewType.ALL, max_results=3
        )
    if not found:
        return None
    if len(found) > 1:
        ids = ", ".join(run.info.run_id for run in found)
        raise InputError(f"{name}: several runs of MLflow begin so ({ids}): write more of it")
    (run,) = found
    if run.info.lifecycle_stage == "deleted":
        again = f"`mlflow runs restore --run-id {run.info.run_id}` brings it back"
        raise InputError(f"{name}: MLflow's run {run.info.run_id} was deleted: {again}")
    return run


def _registered(store: MlflowClient, name: str) -> Record | None:
    from mlflow.exceptions import MlflowException

    matched = REGISTERED.fullmatch(name)
    assert matched is not None
    model, alias, other, version = matched.groups()
    try:
        found = (
            store.get_model_version_by_alias(model, alias)
            if alias
            else store.get_model_version(other, version)
        )
    except MlflowException:
        return None
    if not found.run_id:
        raise InputError(f"{name}: MLflow does not say which run made it: name its run, or its folder")
    return store.get_run(found.run_id)


def _artifact(run: Record, name: str) -> Any:
    """Return what a JSON artifact of a run holds; None if it has none, or its store does not give it."""
    from mlflow.artifacts import download_artifacts

    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with TemporaryDirectory() as folder:
        try:
            uri, store = f"{run.info.artifact_uri}/{name}", tracking.local_store(STATE)
            path = download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=store)
            return json.loads(Path(path).read_text("utf-8"))
        except Exception:  # whatever a store of artifacts makes of a file that is not there
            return None
