"""What `jokbo doctor` looks at of MLflow: whether the store answers, its schema, and runs that nobody ends. It writes
nothing there."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from jokbo.runtime.errors import InputError
from jokbo.runtime.mlflow_store import (
    EXPERIMENT,
    SERVERS,
    VARIABLE,
    fault,
    local_store,
    reason,
    sqlite_file,
)
from jokbo.runtime.outbox import RUNS
from jokbo.runtime.owner import PROCESS, gone
from jokbo.runtime.secrets import hidden, hidden_of
from jokbo.team.upkeep.findings import Finding, ok, refused, warning, wrong

if TYPE_CHECKING:
    from sqlalchemy import Engine

ANSWER_SECONDS = 5
WRITERS = f"""
SELECT tags.value FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
WHERE runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active' AND tags.key = '{PROCESS}'
"""


def mlflow(state: Path) -> Iterator[Finding]:
    """Yield what is to be said of the store of the project with this .jokbo."""
    try:
        uri = local_store(state)
        file = sqlite_file(uri)
        if file and not file.exists():
            yield ok(f"{file}: not there yet: the first run makes it")
            return
        damage = fault(file) if file else None
    except InputError as error:
        yield refused(error)
        return
    if file and damage:
        said = "was made by an earlier MLflow" if damage == "old" else damage
        yield warning(
            f"{file} {said}", "nothing: the next run keeps it aside or brings it to this MLflow's schema"
        )
        return
    try:
        yield from _of_server(uri) if uri.startswith(SERVERS) else _of_database(uri, file)
    except Exception as error:  # whatever MLflow and drivers raise
        why = hidden_of(uri, reason(error))
        yield wrong(f"{hidden(uri)} does not answer ({why})", f"start it, or correct or unset {VARIABLE}")


def _of_server(uri: str) -> Iterator[Finding]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(EXPERIMENT)
    yield ok(f"the server at {hidden(uri)} answers" + ("" if found else "; no run of jokbo is there yet"))
    if found:
        running = client.search_runs([found.experiment_id], "attributes.status = 'RUNNING'")
        yield from _buried(run.data.tags.get(PROCESS, "") for run in running)


def _of_database(uri: str, file: Path | None) -> Iterator[Finding]:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils
    from sqlalchemy import text

    engine = _engine(uri, file)
    try:
        with engine.connect() as connection:
            version = MigrationContext.configure(connection).get_current_revision()
            head = ScriptDirectory.from_config(utils._get_alembic_config("")).get_current_head()
            where = str(file or hidden(uri))
            if version is None:
                yield ok(f"{where}: empty: the first run makes the store")
                return
            if version != head:
                upgrade = f"mlflow db upgrade ${VARIABLE}, after a backup"
                yield wrong(f"{where}: schema {version}, and this MLflow's is {head}", upgrade)
                return
            yield ok(f"{where} opens: schema {version}, this MLflow's own")
            yield from _buried(connection.execute(text(WRITERS)).scalars())
    finally:
        engine.dispose()


def _engine(uri: str, file: Path | None) -> Engine:
    from sqlalchemy import create_engine

    if file:
        return create_engine(f"sqlite:///file:{file}?mode=ro&uri=true")
    quick = {"connect_timeout": ANSWER_SECONDS} if uri.startswith(("postgresql", "mysql")) else {}
    return create_engine(uri, connect_args=quick)


def _buried(writers: Iterable[str]) -> Iterator[Finding]:
    if dead := sum(map(gone, writers)):
        shown = f"{dead} run{'s' * (dead != 1)} shown as running, whose process is gone"
        yield warning(shown, "nothing: the next run marks such as KILLED")


def unsent(state: Path) -> Iterator[Finding]:
    """Yield whether runs have kept what MLflow did not take."""
    if kept := left(state):
        said = f"{len(kept)} run{'s' * (len(kept) != 1)} kept what MLflow did not take, in {state / RUNS}"
        yield warning(said, "nothing if the store is the same: the next run sends it; else see `jokbo clean`")
    else:
        yield ok("nothing waits to be sent to MLflow")


def left(state: Path) -> list[Path]:
    """Return what runs that are gone have kept for MLflow."""
    return [path for path in sorted((state / RUNS).glob("*.jsonl")) if not _is_open(path)]


def _is_open(path: Path) -> bool:
    """Return whether a run that lives writes it."""
    with closing(path.open()) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
