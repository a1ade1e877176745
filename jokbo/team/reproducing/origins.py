"""Which run somebody means: by the run's id in MLflow, by a registered model, or by the folder of a model."""

from __future__ import annotations

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


def of_run(run: Record, state: Path) -> Account:
    """Return the account of a run of MLflow. InputError if it is of no stage of ours, or nothing tells it."""
    id, stage = run.info.run_id, run.data.tags.get("stage")
    if stage is None or KEY not in run.data.tags:
        raise InputError(f"{id}: a run of another project: name one of a stage of jokbo")
    if stage == "pipeline":
        raise InputError(
            f"{id}: the run of a whole pipeline: name that of one of its stages, with --all for all"
        )
    with _store(state) as client:
        return _account(client, run) or _without_account(f"run {id}", run.data.tags[KEY])


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
