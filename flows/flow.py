"""The flow: every stage of dvc.yaml as a Prefect task.

DVC decides whether a stage must run; Prefect decides when, how often it is tried again, and who is told.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.context import TagsContext
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows import graph, terminal
from flows.schedule import SKIPPED, overtaken
from flows.server import leave_if_gone
from flows.supervise import follow, sweep
from flows.told import told
from flows.watchdog import Watch
from jokbo.runtime import tracking
from jokbo.runtime.errors import BAD_INPUT, WAITING, InputError
from jokbo.runtime.files import locked, read_if_there
from jokbo.runtime.progress import STEPS, duration
from jokbo.runtime.secrets import hidden
from tasks.frame import checks, projects
from tasks.frame.paths import STATE, search_path
from tasks.frame.stage import FLOW_RUN, PARENT_RUN, commit, keep_changes, state, timing, version

BAD_INPUT_STATE = "BadInput"
WAITING_STATE = "Waiting"
CHATTER = re.compile(
    r"^\s*$|^Running stage '|^> |^To (track|enable)|^\s+(git add|dvc config)|^Use `dvc push`|ing lock file"
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
    """A stage was stopped at its time limit, or as it did no step any more."""


class Busy(InputError):
    """Another pipeline runs in this folder."""


class PipelineFailed(Exception):
    """Names the stages that failed, and those that could not start because of them."""


class PipelineWaits(PipelineFailed):
    """The same where nothing failed: a stage waits for people."""


def _in_one_line(record: logging.LogRecord) -> bool:
    """Keep the traceback of a stage's failure from Prefect's log: the stage has told its story. For logging."""
    if record.exc_info and isinstance(record.exc_info[1], StageFailed | StageTooLong):
        record.exc_info = None
    return True


logging.getLogger("prefect.task_runs").addFilter(_in_one_line)


def _worth_retrying(task: object, run: object, state: State) -> bool:
    error = state.result(raise_on_failure=False)
    return not stopping.is_set() and getattr(error, "status", None) not in (BAD_INPUT, WAITING)


@task(task_run_name="{name}", retries=1, retry_delay_seconds=1, retry_condition_fn=_worth_retrying)
def run(
    name: str,
    folder: Path,
    title: str | None,
    timeout_hours: float,
    settings: dict[str, str],
    remote: str | None,
) -> State:
    """Bring one stage of the folder's project up to date, from the DVC remote where that has it, with `settings` in its
    environment. `title` announces it; a stage that is not stale has none, and is not even started."""
    if not title:
        return Completed(name="Cached")
    get_run_logger().info(title)
    before = _ended(name)
    deadline = (
        time.monotonic() + timeout_hours * 3600
    )  # Prefect's own timeout warns at every task in a thread

    steps = (state() / "steps" / f"{name}.json").resolve()
    watch, hung = Watch(steps), ""

    def over() -> bool:
        nonlocal hung
        hung = hung or watch.hung() or ""
        return stopping.is_set() or time.monotonic() > deadline or bool(hung)

    given = {"PATH": search_path(), "PYTHONUNBUFFERED": "1", STEPS: str(steps)}
    environment = {**os.environ, **settings, **given}
    dvc = [sys.executable, "-m", "flows.dvc", "--cd", str(folder)]
    command = [*dvc, "--wait-for-lock", "repro", "--single-item", name]
    status, statuses = _reproduce(command, environment, remote, over)
    if hung:
        get_run_logger().warning(f"{name} was stopped: {hung}")  # also where the next attempt goes well
        raise StageTooLong(f"{name} was stopped: {hung}")
    if time.monotonic() > deadline:
        raise StageTooLong(f"{name} was stopped: it took longer than {timeout_hours:g} hours")
    if status:
        raise StageFailed(name, int(statuses[-1]) if statuses else status)
    ended = _ended(name)
    took = (
        "as before: nothing to do"
        if ended == before
        else f"done in {duration((ended or {}).get('seconds', 0))}"
    )
    get_run_logger().info(f"{name}: {took}")
    return Completed(name="Cached" if ended == before else "Ran")


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


@flow(
    name="pipeline", flow_run_name=lambda: run_name(), task_runner=threads(1)
)  # stages share the cores, or the GPU
def pipeline(
    timeout_hours: float = 24.0,
    until: str | None = None,
    settings: dict[str, str] | None = None,
    folder: str = ".",  # a Path would be a name that Prefect cannot look up in a flow that is served
) -> State:
    """Run every stage of the folder's project (`until`: that one and what it needs) after those it needs, also of the
    chain, each for at most `timeout_hours` and with `settings` in its environment. Failed names those that did not end.

    So it does if something it was given is not right, and, named Waiting, if a stage waits for people. Cancelled, named
    Skipped, if another pipeline runs in this folder, or if a scheduled run comes so late that what it is for has been
    done.
    """
    if late := overtaken():
        return Cancelled(name=SKIPPED, message=late)
    story = None
    try:
        outcome, story = _pipeline(timeout_hours, until, settings or {}, Path(folder))
        tracking.send_left(
            tracking.local_store(state()), state()
        )  # the last stage may have ended without MLflow
    except Busy as error:
        outcome = Cancelled(name=SKIPPED, message=str(error))
    except InputError as error:
        outcome = Failed(name=BAD_INPUT_STATE, message=str(error))
    except PipelineWaits as error:
        outcome = Failed(name=WAITING_STATE, message=str(error))
    except PipelineFailed as error:
        outcome = Failed(message=str(error))  # the stage has told its story: no traceback of ours after it
    leave_if_gone()
    if story is not None:  # not before: Prefect's client would try a server that is gone for minutes
        with suppress(httpx.HTTPError):
            create_markdown_artifact(key="result", markdown=story, description=run_name())
    return outcome


def _pipeline(
    timeout_hours: float, until: str | None, settings: dict[str, str], folder: Path
) -> tuple[State, str | None]:
    """Run the stages; return how it ended, and what is to be told of it where anything ran."""
    asked_for = projects.load(folder).model_dump(mode="json")
    with alone():
        found = graph.read(until, folder)
        if not found.stale:  # a run in MLflow would be empty
            _run_all(found, timeout_hours, settings)
            return Completed(name="Cached", message="nothing had changed"), None
        id, store = str(flow_run.id), tracking.local_store(state())
        tags = {"stage": "pipeline", "flow.run": id, **version(), "mlflow.runName": run_name()}
        tags["mlflow.note.content"] = (
            f"The pipeline, {run_name()}: what it ran is below it, a run a stage; parameters are those of params.yaml."
        )
        if PARENT_RUN in os.environ:  # several seeds are below one run
            tags["mlflow.parentRunId"] = os.environ[PARENT_RUN]
        of = tracking.Subject("pipeline", id, asked_for, tags)
        with tracking.open_run(of, tracking_uri=store) as parent:
            keep_changes(parent)
            known = {FLOW_RUN: id, PARENT_RUN: parent.id, checks.STAGES: ",".join(found.needs)}
            states = _run_all(found, timeout_hours, {**settings, **known})
            outcomes = {name: state.name or state.type.name for name, state in states.items()}
            terminal.summary(outcomes, seconds_of(states))
            _all_completed(states)
            story = told(parent, store, found.needs, found.stale, seconds_of(found.needs))
            return Completed(), story


def run_name() -> str:
    """Return what the flow that runs is of and at which commit, as Prefect and MLflow show it."""
    given = flow_run.parameters
    folder, until = given.get("folder", "."), given.get("until")
    what = ("chain" if folder == "." else folder) + (f" until {until}" if until else "")
    return ", ".join(filter(None, [what, commit(version())]))


def _all_completed(states: dict[str, State]) -> None:
    left = {name: state for name, state in states.items() if not state.is_completed()}
    if not left:
        return
    failed = {
        name: getattr(state.result(raise_on_failure=False), "status", None)
        for name, state in left.items()
        if state.is_final()
    }
    if set(failed.values()) == {WAITING}:
        held = [name for name in left if name not in failed]
        after = f"; after that come {', '.join(held)}" if held else ""
        raise PipelineWaits(f"waiting for people: {', '.join(failed)}{after}")
    raise PipelineFailed("not completed: " + ", ".join(left))


def _run_all(found: graph.Graph, timeout_hours: float, settings: dict[str, str]) -> dict[str, State]:
    futures: dict[str, PrefectFuture] = {}
    remotes = {folder: graph.remote(folder) for folder in set(found.folders.values())}
    stale = [name for name in found.needs if name in found.stale]
    titles = {name: f"stage {number} of {len(stale)}: {name}" for number, name in enumerate(stale, 1)}
    try:
        with TagsContext(
            current_tags=set()
        ):  # for each tag of a task Prefect asks the server, which may be gone
            for name, upstream in found.needs.items():
                before, folder = [futures[other] for other in sorted(upstream)], found.folders[name]
                given = (name, folder, titles.get(name), timeout_hours, settings, remotes[folder])
                futures[name] = run.submit(*given, wait_for=before, return_state=False)
        wait(list(futures.values()))
    except BaseException:
        stopping.set()
        raise
    return {name: future.state for name, future in futures.items()}


def seconds_of(stages: Iterable[str]) -> dict[str, float]:
    """Return what the last whole run of each stage took, of those that are known."""
    return {name: found["seconds"] for name in stages if (found := _ended(name))}


def _ended(name: str) -> dict[str, Any] | None:
    """Return the record of the stage's last run that came to its end."""
    record = read_if_there(timing(name))
    return record and {**record, "at": timing(name).stat().st_mtime_ns}


@contextmanager
def alone(state: Path = STATE) -> Iterator[None]:
    """Hold a project's lock, with nothing running that an earlier pipeline left. Busy if another holds it. `state` is
    the project's .jokbo."""
    lock = state / "locks" / "pipeline"

    def taken() -> None:
        where = "this folder" if state == STATE else state.parent
        raise Busy(f"another pipeline runs in {where}: wait for it, or stop it")

    with locked(lock, taken):
        sweep(state.parent)
        yield
