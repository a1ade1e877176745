"""The flow: every stage of dvc.yaml as a Prefect task.

DVC decides whether a stage must run; Prefect decides when, how often it is tried again, and who is told.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from rich.console import Console
from rich.table import Table

from flows import graph
from flows.schedule import SKIPPED, overtaken
from flows.server import leave_if_gone
from flows.supervise import follow, sweep
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_if_there, writing
from jokbo.runtime.secrets import hidden
from tasks.frame import checks, projects
from tasks.frame.paths import STATE, search_path
from tasks.frame.stage import FLOW_RUN, PARENT_RUN, state, timing

BAD_INPUT = 2  # exit status of a stage that was given something it can't use: trying again won't help
BAD_INPUT_STATE = "BadInput"
CHATTER = re.compile(
    r"^\s*$|^To (track|enable)|^\s+(git add|dvc config)|^Use `dvc push`|ing lock file"
)  # DVC's hints
LACKING = "failed to download"  # what DVC says where a remote has not all of a stage's data
HELD = re.compile(
    r"ERROR: "
)  # what DVC says before it starts a stage, for one, of files that another DVC works on
MISSING = re.compile(r"WARNING: (Some of the cache|Failed to pull run cache)|(name: \w+, )?md5: ")  # remote's
STATUS = re.compile(r"exited with (-?\d+)")  # DVC's own status is 255 whatever the stage's was

stopping = threading.Event()  # set when the flow is told to stop: its tasks live in other threads
unreadable = threading.Event()  # set when the DVC remote cannot be read: stages do without it from then on


class StageFailed(Exception):
    """A stage did not come to its end. `status` is the exit status of its command, if DVC told it."""

    def __init__(self, name: str, status: int | None) -> None:
        super().__init__(f"{name} failed" + (f" with exit status {status}" if status else ""))
        self.status = status


class StageTooLong(Exception):
    """A stage was stopped at its time limit."""


class Busy(InputError):
    """Another pipeline runs in this folder."""


class PipelineFailed(Exception):
    """Names the stages that failed, and those that could not start because of them."""


def _in_one_line(record: logging.LogRecord) -> bool:
    """Keep the traceback of a stage's failure from Prefect's log: the stage has told its story. For logging."""
    if record.exc_info and isinstance(record.exc_info[1], StageFailed | StageTooLong):
        record.exc_info = None
    return True


logging.getLogger("prefect.task_runs").addFilter(_in_one_line)


def _worth_retrying(task: object, run: object, state: State) -> bool:
    error = state.result(raise_on_failure=False)
    return not stopping.is_set() and getattr(error, "status", None) != BAD_INPUT


@task(task_run_name="{name}", retries=1, retry_delay_seconds=1, retry_condition_fn=_worth_retrying)
def run(
    name: str, folder: Path, stale: bool, timeout_hours: float, settings: dict[str, str], remote: str | None
) -> State:
    """Bring one stage of the folder's project up to date, from the DVC remote where that has it, with `settings` in its
    environment. One that is not stale is not even started."""
    if not stale:
        return Completed(name="Cached")
    before = _ended(name)
    deadline = (
        time.monotonic() + timeout_hours * 3600
    )  # Prefect's own timeout warns at every task in a thread

    def over() -> bool:
        return stopping.is_set() or time.monotonic() > deadline

    environment = {**os.environ, **settings, "PATH": search_path(), "PYTHONUNBUFFERED": "1"}
    dvc = [sys.executable, "-m", "flows.dvc", "--cd", str(folder)]
    command = [*dvc, "--wait-for-lock", "repro", "--single-item", name]
    status, statuses = _reproduce(command, environment, remote, over)
    if time.monotonic() > deadline:
        raise StageTooLong(f"{name} was stopped: it took longer than {timeout_hours:g} hours")
    if status:
        raise StageFailed(name, int(statuses[-1]) if statuses else status)
    return Completed(name="Cached" if _ended(name) == before else "Ran")


def _reproduce(
    command: list[str], environment: dict[str, str], remote: str | None, over: Callable[[], bool]
) -> tuple[int, list[str]]:
    """Follow DVC to its end: its exit status, and those that it told of the stage's command. Waits while another DVC
    works on the stage's files, and does without a remote that cannot be read or has not all of them."""
    told, without = set(), False
    while True:
        pull = ["--pull"] if remote and not without and not unreadable.is_set() else []
        dvc = _Output()
        status = follow([*command, *pull], environment, dvc.line, over)
        errors = "\n".join(dvc.held)
        holder = graph.BLOCKER.search(errors)
        if not (status and dvc.held) or dvc.started or over() or not (holder or pull):
            dvc.release()
            return status, dvc.statuses
        if holder:
            message = f"waiting for {holder[0]}, which works in this folder"
        else:
            without = True
            if LACKING not in errors:
                unreadable.set()
            message = f"going on without the DVC remote {remote}: {hidden(dvc.held[0])}"
        if message not in told:
            told.add(message)
            get_run_logger().warning(message)
        if holder:
            stopping.wait(5)


class _Output:
    """What DVC prints, logged line by line but for its hints; errors before the stage's command starts are held."""

    def __init__(self) -> None:
        self.started, self.held, self.statuses = False, [], []

    def line(self, text: str) -> None:
        self.started |= text.startswith("Running stage")
        self.statuses += STATUS.findall(text)
        if not self.started and (self.held or HELD.match(text)):
            self.held.append(text)
        elif not CHATTER.search(text) and (self.started or not MISSING.match(text)):
            get_run_logger().info(hidden(text))

    def release(self) -> None:
        for text in self.held:
            if not CHATTER.search(text):
                get_run_logger().info(hidden(text))


def threads(workers: int) -> TaskRunner[Any]:
    """Return what runs so many stages at once."""
    return ThreadPoolTaskRunner(max_workers=workers)


@flow(name="pipeline", task_runner=threads(1))  # stages share the cores, or the GPU
def pipeline(
    timeout_hours: float = 24.0,
    until: str | None = None,
    settings: dict[str, str] | None = None,
    folder: str = ".",  # a Path would be a name that Prefect cannot look up in a flow that is served
) -> State:
    """Run every stage of the folder's project (`until`: that one and what it needs) after those it needs, also of the
    chain, each for at most `timeout_hours` and with `settings` in its environment. Failed names those that did not end.

    So it does if something it was given is not right. Cancelled, named Skipped, if another pipeline runs in this
    folder, or if a scheduled run comes so late that what it is for has been done.
    """
    if late := overtaken():
        return Cancelled(name=SKIPPED, message=late)
    try:
        outcome = _pipeline(timeout_hours, until, settings or {}, Path(folder))
    except Busy as error:
        outcome = Cancelled(name=SKIPPED, message=str(error))
    except InputError as error:
        outcome = Failed(name=BAD_INPUT_STATE, message=str(error))
    except PipelineFailed as error:
        outcome = Failed(message=str(error))  # the stage has told its story: no traceback of ours after it
    leave_if_gone()
    return outcome


def _pipeline(timeout_hours: float, until: str | None, settings: dict[str, str], folder: Path) -> State:
    projects.load(folder)
    with alone():
        found = graph.read(until, folder)
        id, store = str(flow_run.id), tracking.local_store(state())
        tags = {"stage": "pipeline", "flow.run": id}
        with tracking.open_run("pipeline", id, params={}, tags=tags, tracking_uri=store) as parent:
            told = {FLOW_RUN: id, PARENT_RUN: parent.id, checks.STAGES: ",".join(found.needs)}
            states = _run_all(found, timeout_hours, {**settings, **told})
            summary({name: state.name or state.type.name for name, state in states.items()})
            _all_completed(states)
    return Completed()


def _all_completed(states: dict[str, State]) -> None:
    failed = [name for name, state in states.items() if not state.is_completed()]
    if failed:
        raise PipelineFailed("not completed: " + ", ".join(failed))


def _run_all(found: graph.Graph, timeout_hours: float, settings: dict[str, str]) -> dict[str, State]:
    futures: dict[str, PrefectFuture] = {}
    remotes = {folder: graph.remote(folder) for folder in set(found.folders.values())}
    try:
        for name, upstream in found.needs.items():
            before, folder = [futures[other] for other in sorted(upstream)], found.folders[name]
            given = (name, folder, name in found.stale, timeout_hours, settings, remotes[folder])
            futures[name] = run.submit(*given, wait_for=before, return_state=False)
        wait(list(futures.values()))
    except BaseException:
        stopping.set()
        raise
    return {name: future.state for name, future in futures.items()}


def summary(states: dict[str, str]) -> None:
    """Print stage by stage how it ended, and what its last whole run took."""
    table = Table("stage", "state", "seconds", "MLflow run", title="pipeline")
    for name, outcome in states.items():
        last = _ended(name) or {}
        table.add_row(name, outcome.lower(), f"{last.get('seconds', 0):.1f}", last.get("run", ""))
    Console(width=90).print(table)


def _ended(name: str) -> dict[str, Any] | None:
    """The record of the stage's last run that came to its end."""
    record = read_if_there(timing(name))
    return record and {**record, "at": timing(name).stat().st_mtime_ns}


@contextmanager
def alone(state: Path = STATE) -> Iterator[None]:
    """Hold a project's lock, with nothing running that an earlier pipeline left. Busy if another holds it. `state` is
    the project's .jokbo."""
    lock = state / "locks" / "pipeline"
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            where = "this folder" if state == STATE else state.parent
            raise Busy(f"another pipeline runs in {where}: wait for it, or stop it") from None
        sweep(state.parent)
        yield
