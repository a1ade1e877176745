"""`python -m flows.scaling` trains networks of many sizes on many numbers of tokens, and fits scaling laws to them.

Each run is a Prefect task: processes of this machine do several at once, or a Dask or Ray cluster whose workers see
this folder at the same path. A run leaves a row; a run that fails loses no other one, and the same command does what is
left. scaling/params.yaml says which runs there are.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import wait
from prefect.states import Completed, Failed
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from flows.command import bring, end, one_line
from flows.flow import BAD_INPUT_STATE, alone, pipeline
from flows.server import server
from flows.shards import task_runner
from jokbo import params
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_if_there, reason_of
from jokbo.runtime.launcher import cores
from tasks.frame.paths import DOCUMENTS, STATE, TOKENIZER, TOKENS
from tasks.frame.stage import state, version

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
FOLDER = STATE / "scaling"  # a folder a run, and the text
STOPPED_TOO = "stopped, or with its process gone"


@dataclass(frozen=True)
class Work:
    """A run, as a task is told of it: plain words, which any kind of worker can be sent."""

    planned: dict[str, Any]
    key: str
    corpora: str
    tokenizer: str
    parent: str  # run of MLflow


@task(name="run", cache_policy=NO_CACHE, task_run_name="{work.planned[name]}")
def run(work: Work) -> State:
    """Return Completed where the run's row is there; Failed, in one line, where it cannot be trained."""
    try:
        if threading.current_thread() is threading.main_thread():
            train(work)
        else:  # a worker of Dask: a training listens to signals, which only a main thread can
            command = [sys.executable, "-m", "flows.scaling", "one", json.dumps(asdict(work))]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                return Failed(
                    message=(done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
                )
    except Exception as error:
        if (line := reason_of(error)) is None:
            raise
        return Failed(message=line)
    return Completed()


def train(work: Work) -> None:
    """Train a run, tracked below the sweep, until its row is there."""
    from jokbo.scaling.run import Planned, Text, trained

    settings, planned, folder = params.load_scaling(), Planned(**work.planned), FOLDER / work.key
    tags = {"stage": "scaling run", **version(), "mlflow.runName": planned.name}
    tags |= {"mlflow.parentRunId": work.parent} if work.parent else {}
    shown = {**work.planned, **settings.scaling.sizes[planned.size].model_dump()}
    of = tracking.Subject("scaling run", work.key, shown, tags)
    text = Text(Path(work.corpora), Path(work.tokenizer))
    store = tracking.local_store(state())
    with tracking.open_run(of, tracking_uri=store, resumed=folder.exists(), state=state()) as tracked:
        trained(planned, settings, text, folder, tracked)


@flow(name="scaling")
def sweep() -> State:
    """Train what is left of the sweep, and write its table. Failed names the runs that did not end."""
    from jokbo.scaling import results
    from jokbo.scaling import sweep as planning

    settings = params.load_scaling()
    try:
        own, text, digest = settings.scaling, *text_of(settings)
        made_of = {"scaling": own.model_dump(mode="json"), "text": digest, "code": planning.code()}
        key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        tags = {"stage": "scaling", **version(), "mlflow.runName": "scaling"}
        tags["mlflow.note.content"] = "The sweep for scaling laws: its runs are below it."
        of = tracking.Subject("scaling", key, made_of, tags)
        with tracking.open_run(
            of, tracking_uri=tracking.local_store(state()), resumed=True, state=state()
        ) as parent:

            def works(runs: Sequence[Any]) -> list[Work]:
                paths = str(text.corpora), str(text.tokenizer)
                return [
                    Work(asdict(each), planning.key(each, own, digest), *paths, parent.id or "")
                    for each in runs
                ]

            tried = works(planning.searched(own))
            failed = done(tried)
            rates = planning.rates(own, rows_of(tried))
            runs = works(planning.planned(own, text, rates))
            failed |= done(runs)
            lines = results.write(own, rows_of(runs), rows_of(tried), failed)
            for line in lines:
                print(line)
            parent.artifact(results.TABLE)
    except InputError as error:
        return Failed(name=BAD_INPUT_STATE, message=str(error))
    if failed:
        return Failed(message="not completed: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))
    return Completed()


def done(works: Sequence[Work]) -> dict[str, str]:
    """Have the runs done that have no row yet; return why by the name of each that has none then."""
    left = [work for work in works if row_of(work) is None]
    futures = {work.planned["name"]: run.submit(work) for work in left}
    wait(list(futures.values()))
    said = {name: future.state for name, future in futures.items()}
    return {
        (name := work.planned["name"]): (said[name].message or STOPPED_TOO)
        if said[name].is_failed()
        else STOPPED_TOO
        for work in left
        if row_of(work) is None
    }


def row_of(work: Work) -> dict[str, Any] | None:
    return read_if_there(FOLDER / work.key / "row.json")


def rows_of(works: Sequence[Work]) -> list[dict[str, Any]]:
    return [row for work in works if (row := row_of(work)) is not None]


def text_of(settings: params.ScalingParams) -> tuple[Any, str]:
    """Return what runs read, and its hash."""
    from jokbo.scaling import text

    own = settings.scaling
    if own.tokenizer is None:
        found = text.of_chain(TOKENS, TOKENIZER)
    else:
        found = text.of_documents(DOCUMENTS, own.tokenizer, params.load().tokenize, FOLDER / "text")
    return found, text.digest(found)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many runs at once; by default one a core.")
    ] = None,
    runner: Annotated[
        Literal["processes", "dask", "ray"], typer.Option(help="Where the runs are done.")
    ] = "processes",
    address: Annotated[
        str | None, typer.Option(help="The scheduler of a cluster; none: a cluster on this machine.")
    ] = None,
) -> None:
    """Train the sweep of scaling/params.yaml, each run once, and fit scaling laws to it."""
    if context.invoked_subcommand:
        return
    with one_line():
        needed = "prepare" if params.load_scaling().scaling.tokenizer else "tokenize"
        if not (DOCUMENTS if needed == "prepare" else TOKENS).is_dir():
            bring(lambda: pipeline(until=needed, return_state=True), needed)
        chosen = runs_of(runner, workers, address)
        with alone(), server():
            end(sweep.with_options(task_runner=chosen)(return_state=True))


def runs_of(runner: str, workers: int | None, address: str | None) -> TaskRunner[Any]:
    """Return Prefect's task runner that does the runs. InputError for one that is not installed."""
    if runner != "processes":
        return task_runner(runner, address)
    workers = workers or cores()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // workers)))
    return ProcessPoolTaskRunner(max_workers=workers)


@app.command(hidden=True)
def one(work: str) -> None:
    """Train one run, given as JSON: what a worker starts."""
    with one_line():
        train(Work(**json.loads(work)))


if __name__ == "__main__":
    app()
