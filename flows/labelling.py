"""`python -m flows.labelling` brings the chain up to date with people in it: the policy writes what they compare, the
flow waits for their labels, and goes on.

What lies on disk decides: votes in the page's database, and what is asked in data/local/labels. The flow only waits.
One that is killed and started again looks at the disk again. `... serve` hands it to the user's Prefect server: there a
run is suspended while people label, and woken by this command, also after all of it was started again.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import httpx
import typer
from prefect import flow, get_client, get_run_logger, suspend_flow_run
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import PrefectException
from prefect.runner import Runner
from prefect.runtime import deployment
from prefect.settings import temporary_settings
from prefect.states import Crashed, Failed
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from flows.command import TimeoutHours, Until, bring, one_line
from flows.flow import BAD_INPUT_STATE, WAITING_STATE, Busy, pipeline
from flows.server import check_own_server, shown_address
from jokbo import params
from jokbo.labelling import serving, store
from jokbo.labelling.options import DATABASE, Database
from jokbo.preferences import waiting
from jokbo.preferences.batch import published
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import locked
from jokbo.runtime.secrets import hidden
from tasks.frame.paths import STATE

LOOK_SECONDS = 5.0  # how often the flow looks for labels

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@flow(name="labelling")
def labelling(timeout_hours: float = 24.0, until: str | None = None) -> State:
    """Run the pipeline; as long as it waits for people, wait too, and run it again. Return how it ended."""
    _end_with_parent()
    try:
        engine = _database()
        while True:
            _hand_over(engine)
            outcome = pipeline(timeout_hours, until, return_state=True)
            if outcome.name != WAITING_STATE:
                return State(type=outcome.type, name=outcome.name, message=outcome.message)
            _wait(engine)
    except (InputError, SQLAlchemyError) as error:
        return Failed(name=BAD_INPUT_STATE, message=_line(error))


def _end_with_parent() -> None:
    """See to it that this process, if `serve` has started it, does not outlive that: `serve` started again takes its
    run for dead."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)  # its stages see to themselves: flows.supervise

    threading.Thread(target=watch, daemon=True).start()


def _hand_over(engine: Engine) -> None:
    """Write votes where the stage reads them, if nothing is waited for; half of them would have it run in vain."""
    for name in _people() if not awaited(engine) else ():
        if serving.votes_of(name, engine):
            get_run_logger().info(f"{name}: {serving.hand_over(name, engine)}")


def _wait(engine: Engine) -> None:
    """Wait until no label is awaited any more. A run that is served is suspended."""
    for line in (lines := awaited(engine)):
        get_run_logger().info(f"waiting for people on the page of `jokbo label`: {line}")
    if lines and deployment.id:
        suspend_flow_run(key=f"labels-{time.time_ns()}")  # a key that was used would let the run pass
    told: set[str] = set()
    while _waits(engine, told):
        time.sleep(LOOK_SECONDS)


def _waits(engine: Engine, told: set[str]) -> bool:
    """Return whether a label is awaited. What hinders the look is told once, and may pass: so it is awaited still."""
    try:
        return bool(awaited(engine))
    except (InputError, SQLAlchemyError) as error:
        _tell(error, told)
        return True


def _tell(error: Exception, told: set[str]) -> None:
    if (line := _line(error)) not in told:
        told.add(line)
        print(f"jokbo: looked for labels in vain, and tries again: {line}", file=sys.stderr, flush=True)


def _line(error: Exception) -> str:
    """Return the first line of what an error says, without passwords."""
    return hidden(str(error)).partition("\n")[0]


def awaited(engine: Engine) -> list[str]:
    """Return a line for each labeller whose labels are still waited for."""
    lines = []
    for name, settings in _people().items():
        if batch := published(name):
            found = waiting.answers(batch, serving.votes_of(name, engine))
            labels = waiting.labels(batch, settings, found)
            lines += [f"{name}: {labels}"] if labels.awaited else []
    return lines


def _people() -> dict[str, params.People]:
    labellers = params.load().preferences.labellers
    return {name: each for name, each in labellers.items() if isinstance(each, params.People)}


def _database() -> Engine:
    return store.open_store(serving.database(os.environ.get(DATABASE), STATE))


@contextmanager
def _only_one(database: str | None) -> Iterator[None]:
    """Hold the lock of those who wait in this folder, with the database that was named."""
    if database:
        os.environ[DATABASE] = database

    def taken() -> None:
        raise Busy("a labelling flow waits in this folder already: stop it, or leave it to that one")

    with locked(STATE / "locks" / "labelling", taken):
        yield


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    timeout_hours: TimeoutHours = 24.0,
    until: Until = None,
    database: Database = None,
) -> None:
    """Bring the pipeline up to date, and wait for people where it waits for them."""
    if context.invoked_subcommand:
        return
    with one_line(), _only_one(database):
        bring(lambda: labelling(timeout_hours, until, return_state=True), until)


@app.command()
def serve(database: Database = None) -> None:
    """Have a Prefect server keep the flow: suspended while people label, woken when they have, for as long as this
    command runs; started again it goes on."""
    with one_line(), _only_one(database):
        check_own_server("a flow that is suspended")
        engine = _database()
        here = Path.cwd()
        name = (
            f"{here.name}-{sha256(str(here).encode()).hexdigest()[:6]}"  # of this folder, on a server of many
        )
        with temporary_settings(shown_address()):
            runner = Runner(name=name, pause_on_shutdown=False, limit=1)
            served = runner.add_flow(labelling, name=name)
            assert isinstance(served, UUID)  # it is awaited for us, where no loop runs
            print(
                f"jokbo: the flow is labelling/{name}; Ctrl-C ends this, and the same command goes on",
                flush=True,
            )
            _begin(served)
            threading.Thread(target=_attend, args=(served, engine), daemon=True).start()
            asyncio.run(runner.start())


def _attend(served: UUID, engine: Engine) -> None:
    """Wake the run of the deployment that was served when there is nothing to wait for any more."""
    told: set[str] = set()
    while True:
        try:
            with get_client(sync_client=True) as client:
                asleep = _runs(client, served, StateType.PAUSED)
                for run in asleep if asleep and not _waits(engine, told) else ():
                    client.resume_flow_run(run)
        except (httpx.HTTPError, PrefectException) as error:
            _tell(error, told)
        time.sleep(LOOK_SECONDS)


def _begin(served: UUID) -> None:
    """Make a run unless one goes on. What is said to run has died: it ran in a process of this command. Call it before
    the runner takes one."""
    with get_client(sync_client=True) as client:
        for run in _runs(client, served, StateType.RUNNING, StateType.PENDING):
            client.set_flow_run_state(run, Crashed(message="its process is gone"), force=True)
        if not _runs(client, served, StateType.PAUSED, StateType.SCHEDULED):
            client.create_flow_run_from_deployment(served)


def _runs(client: SyncPrefectClient, served: UUID, *types: StateType) -> list[UUID]:
    of = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[served]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))),
    )
    return [run.id for run in client.read_flow_runs(flow_run_filter=of)]


if __name__ == "__main__":
    app()
