"""`python -m flows.shards prepare` does the shards of a data stage on a cluster, ahead of the stage itself.

Every shard is a Prefect task on a Dask or Ray cluster whose workers see this folder at the same path. What they leave
is where the stage looks for it, under its own identity: the pipeline then finds the work done, and puts it together.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal

import typer
from prefect import flow, task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner

import tasks.prepare
import tasks.tokenize
from flows.command import end, one_line
from flows.flow import BAD_INPUT_STATE, alone
from flows.server import server
from jokbo import params
from jokbo.runtime.errors import InputError
from tasks.frame.identity import check_loaded, check_unchanged, identify
from tasks.frame.stage import checkpoint_folder

STAGES = {"prepare": tasks.prepare.work, "tokenize": tasks.tokenize.work}
RUNNERS = {"dask": "DaskTaskRunner", "ray": "RayTaskRunner"}  # of the packages prefect-dask and prefect-ray

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@task(retries=1, cache_policy=NO_CACHE)
def shard(call: Callable[[Any], None], item: Any) -> None:
    call(item)


def parallel_map(call: Callable[[Any], None], items: Iterable[Any]) -> Iterator[None]:
    """Return what `map` returns; the calls are made where the tasks of the flow run."""
    return (future.result() for future in shard.map(unmapped(call), list(items)))


@flow(name="shards")
def ahead(name: str) -> State:
    """Return all shards of the stage, in the folder of the identity that it would run with now."""
    try:
        identity = identify(name)
        check_loaded(identity)
        folder = checkpoint_folder(name, identity.key).resolve()
        STAGES[name](getattr(params.load(), name), folder, parallel_map)
        try:
            check_unchanged(name, identity)
        except InputError:
            shutil.rmtree(folder)  # who of the cluster read the code or the inputs, and when, nobody knows
            raise
    except InputError as error:
        return Failed(name=BAD_INPUT_STATE, message=str(error))
    return Completed()


@app.command()
def main(
    stage: Annotated[Literal["prepare", "tokenize"], typer.Argument(help="Whose shards.")],
    runner: Annotated[Literal["dask", "ray"], typer.Option(help="The kind of cluster.")] = "dask",
    address: Annotated[
        str | None, typer.Option(help="Its scheduler; none: a cluster on this machine.")
    ] = None,
) -> None:
    """Do the shards of a data stage on a cluster; `make pipeline` then puts them together."""
    with one_line():
        params.load()
        with alone(), server():
            flow = ahead.with_options(task_runner=task_runner(runner, address))
            end(flow(stage, return_state=True))


def task_runner(kind: str, address: str | None) -> TaskRunner[Any]:
    """Return Prefect's task runner for a cluster. Raises InputError if the package that has it is missing."""
    try:
        module = importlib.import_module(f"prefect_{kind}")
    except ImportError as error:
        raise InputError(f"--runner {kind} needs a package: pip install prefect-{kind}") from error
    if address:
        return getattr(module, RUNNERS[kind])(address=address)
    # Dask's page would else listen on every interface, and ask for no password
    own = {"cluster_kwargs": {"host": "127.0.0.1", "dashboard_address": None}} if kind == "dask" else {}
    return getattr(module, RUNNERS[kind])(**own)


if __name__ == "__main__":
    app()
