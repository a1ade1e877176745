"""Which run somebody means: by the run's id in MLflow, by a registered model, or by the folder of a model."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jokbo.runtime import ancestry, run_record, tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.mlflow_runs import KEY
from jokbo.runtime.mlflow_store import EXPERIMENT, connect, reason
from jokbo.runtime.run_record import Account
from jokbo.runtime.secrets import hidden

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Record

RUN_ID = re.compile(r"[0-9a-f]{32}")
VERSION = re.compile(r"(?P<scheme>models:/)?(?P<model>[^/@:]+)(?:/(?P<version>\d+)|@(?P<alias>[\w.-]+))")
UNKNOWN = "unknown"  # how a commit begins that git could not tell


def of_model(model: Path, state: Path) -> Account:
    """Return the account of the run that made a model of this project. InputError if nothing tells it."""
    record = ancestry.Record.load(model)
    return of_key(record.stage, record.key, state) or _without_account(str(model), record.key)


def of_key(stage: str, key: str, state: Path) -> Account | None:
    """Return the account of the run of an identity, from .jokbo or from MLflow; None if neither has one."""
    folder = run_record.place(state, stage, key)
    if folder.is_dir():
        return Account.load(folder)
    with _store(state) as client:
        found = tracking.find_run(client, key)
        return _account(client, found) if found else None


def of_run(id: str, state: Path) -> Account:
    """Return the account of a run of MLflow. InputError if it is not there, deleted, or no run of a stage of ours."""
    with _store(state) as client:
        return _account(client, _run(client, id)) or _without_account(f"run {id}", "its key")


def of_registered(name: str, state: Path) -> Account | None:
    """Return the account of the run that made a registered model, NAME/VERSION or NAME@ALIAS; None if there is none."""
    from mlflow.exceptions import MlflowException

    if not (named := VERSION.fullmatch(name)):
        return None
    with _store(state) as client:
        try:
            if named["version"]:
                found = client.get_model_version(named["model"], named["version"])
            else:
                found = client.get_model_version_by_alias(named["model"], named["alias"])
        except MlflowException:
            return None
        if not found.run_id:
            raise InputError(f"{name}: the registry names no run that made it")
        return _account(client, _run(client, found.run_id)) or _without_account(name, found.run_id)


def made_by(stage: str, path: str, md5: str, state: Path) -> Account | None:
    """Return the account of a run of the stage with this output, from .jokbo or else from MLflow; None if none has."""
    for folder in (state / "records" / stage).glob("*"):
        if (account := Account.load(folder)).record.outs.get(path) == md5:
            return account
    with _store(state) as client:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        wanted = f"tags.stage = '{stage}' and attributes.status = 'FINISHED'"
        for run in client.search_runs([experiment.experiment_id], wanted) if experiment else []:
            account = _account(client, run)
            if account and account.record.outs.get(path) == md5:
                return account
    return None


@contextmanager
def _store(state: Path) -> Iterator[MlflowClient]:
    """Yield a client of MLflow. InputError if it does not answer."""
    uri = tracking.local_store(state)
    try:
        client, _ = connect(uri)
    except Exception as error:  # whatever its drivers raise
        if isinstance(error, InputError):
            raise
        raise InputError(f"MLflow at {hidden(uri)} does not answer ({reason(error)})") from error
    yield client


def _run(client: MlflowClient, id: str) -> Record:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(id)
    except MlflowException:
        raise InputError(f"{id}: MLflow has no such run: `mlflow ui` shows those that there are") from None
    if run.info.lifecycle_stage == "deleted":
        raise InputError(f"{id}: that run was deleted: `mlflow runs restore --run-id {id}` brings it back")
    experiment = client.get_experiment(run.info.experiment_id).name
    stage = run.data.tags.get("stage")
    if experiment != EXPERIMENT or KEY not in run.data.tags or stage is None:
        raise InputError(
            f"{id}: a run of another project (experiment {experiment}): name one of a stage of jokbo"
        )
    if stage == "pipeline":
        raise InputError(
            f"{id}: the run of a whole pipeline: name that of one of its stages, with --all for all"
        )
    return run


def _account(client: MlflowClient, run: Record) -> Account | None:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            place = Path(client.download_artifacts(run.info.run_id, run_record.FOLDER, folder))
            account = Account.load(place)
        except (MlflowException, InputError, OSError):
            return None
    return replace(account, record=replace(account.record, run=run.info.run_id))


def _without_account(name: str, key: str) -> Account:
    raise InputError(
        f"{name}: no record of the run that made it ({key[:12]}): it was made before jokbo kept one, or it was not "
        "finished: name a git revision and --stage"
    )
