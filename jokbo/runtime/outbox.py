"""The way of a run to MLflow. What MLflow does not take now is kept in a file, in order, and sent when it does.

`.jokbo/runs/TIME-OPENING.jsonl` is there for as long as a run is open, and locked by the process that writes it: a lock
that nobody holds says that its process is gone. The first line says what was opened, each of the others what to
send. Sending twice is as sending once, so whoever is killed between sending and removing does no harm.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.runtime import owner
from jokbo.runtime.errors import InputError
from jokbo.runtime.mlflow_runs import KEY, Opening, bury, claim, set_tags, steps_seen
from jokbo.runtime.mlflow_store import connect, reason, say
from jokbo.runtime.secrets import hidden

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUNS = "runs"  # in .jokbo
PARAMS = 100  # the most parameters of one log_batch
BATCH = 1000  # the most metrics, and the store's limit, of one log_batch
QUICK_SECONDS = 1.0  # a refusal that came within this may be tried again at once
RETRY_SECONDS = 60.0  # else it is tried again after this, and after 30 times what the try took
Entry = dict[
    str, Any
]  # one thing to send: {"metrics": [[name, value, milliseconds, step], ...]}, {"tags": {...}} ...


class Outbox:
    """What one open run has to send. `id` is the run's in MLflow, or its opening's until MLflow was reached."""

    def __init__(self, uri: str, state: Path, name: str, key: str, resumed: bool) -> None:
        """Begin an outbox; nothing is sent yet. InputError if the file cannot be written."""
        self.id = uuid.uuid4().hex
        self._uri, self._state, self._name = uri, state, name
        self._client: MlflowClient | None = None
        self._seen: set[tuple[str, int]] = set()
        self._retry_at, self._last_try_took, self._kept = 0.0, 0.0, 0
        self._said = self._lost = False
        start = int(time.time() * 1000)
        path = state / RUNS / f"{start}-{self.id}.jsonl"
        try:
            tags = {KEY: key, **owner.whose(state), owner.PROCESS: owner.process()}
            path.parent.mkdir(parents=True, exist_ok=True)
            self._path, partial = path, path.with_suffix(".partial")
            self._file = partial.open("x+")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            opened = {"opening": self.id, "name": name, "tags": tags, "resumed": resumed, "start": start}
            location = {"store": hidden(uri), "inode": os.fstat(self._file.fileno()).st_ino}
            self._write({**opened, **location})
            self._header_end = self._file.tell()
            partial.rename(path)  # whoever finds it finds it locked
        except OSError as error:
            raise InputError(f"{error.filename or path}: cannot be written ({error.strerror})") from error

    def put(self, *entries: Entry) -> None:
        """Send these, or keep them. Nothing that MLflow does or does not do is raised."""
        if not self._kept and self._client:
            start = time.monotonic()
            try:
                for entry in entries:
                    _send(self._client, self.id, entry, self._seen)
                return
            except Exception as error:
                if (took := time.monotonic() - start) > QUICK_SECONDS:
                    self._failed(error, took)
        for entry in entries:
            self._keep(entry)
        if time.monotonic() >= self._retry_at:
            self._catch_up()

    def close(self) -> None:
        """Send what is kept, if MLflow may take it; what it doesn't, the next run will send."""
        if self._kept and (time.monotonic() >= self._retry_at or self._last_try_took < QUICK_SECONDS):
            self._catch_up()
        if not self._kept:
            _remove(self._path)
        self._file.close()

    def _catch_up(self) -> None:
        """Send what runs that have ended left, then what is kept of this one."""
        start = time.monotonic()
        try:
            client, experiment = connect(self._uri)
            _send_left(client, experiment, self._state, self._uri)
            bury(client, experiment)
            self.id, self._seen, fault = _send_all(client, experiment, self._file, self._state / RUNS)
            if fault:
                raise fault
            self._client = client
        except Exception as error:
            self._failed(error, time.monotonic() - start)
            return
        self._file.truncate(self._header_end)
        shutil.rmtree(_folder(self._path), ignore_errors=True)
        self._kept = 0
        if self._said:
            say(f"MLflow takes what {self._name} logs again: what was kept is sent")
            self._said = False

    def _failed(self, error: Exception, took: float) -> None:
        self._last_try_took = took
        self._retry_at = time.monotonic() + max(RETRY_SECONDS, 30 * took)
        if not self._said:
            say(
                f"MLflow at {self._uri} takes nothing ({reason(error)}): {self._name} goes on; what it logs is kept in "
                f"{self._state / RUNS}, and sent by the next run that reaches MLflow"
            )
            self._said = True

    def _keep(self, entry: Entry) -> None:
        self._kept += 1
        try:
            if "artifact" in entry:
                source = Path(entry["artifact"])
                kept = _folder(self._path) / str(self._kept) / source.name
                kept.parent.mkdir(parents=True)
                (shutil.copytree if source.is_dir() else shutil.copy)(source, kept)
                entry = {**entry, "artifact": str(kept.relative_to(self._state / RUNS))}
            self._write(entry)
        except OSError as error:
            if not self._lost:
                say(f"{self._path}: cannot be written ({error.strerror}): what {self._name} logs is lost")
            self._lost = True

    def _write(self, entry: Entry) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()


def send_left(uri: str, state: Path) -> None:
    """Send what runs of this folder that have ended left, where no run is about to be opened that would."""
    if not any((state / RUNS).glob("*.jsonl")):
        return  # before MLflow is imported for it
    try:
        client, experiment = connect(uri)
        _send_left(client, experiment, state, uri)
        bury(client, experiment)
    except Exception as error:
        say(
            f"MLflow at {uri} takes nothing ({reason(error)}): what earlier runs logged stays in {state / RUNS}, "
            "and is sent by the next run that reaches MLflow"
        )


def _send_left(client: MlflowClient, experiment: str, state: Path, uri: str) -> None:
    """Send what runs of this folder that have ended could not send to this store; who did not end it was killed."""
    sent = 0
    for path in sorted((state / RUNS).glob("*.jsonl")):
        with _taken(path) as file:
            if file is None:
                continue
            opened = _entries(file)[:1]
            if not opened or opened[0]["store"] != hidden(uri):
                continue
            id, _, fault = _send_all(client, experiment, file, state / RUNS)
            copied = (
                opened[0]["inode"] != os.fstat(file.fileno()).st_ino
            )  # with its folder, perhaps from a live run
            if not copied and client.get_run(id).info.status == "RUNNING":
                client.set_terminated(id, "KILLED")
            if not fault:
                # not one that was killed while it was opened: nothing was said of it
                sent += any({"metrics", "status"} & set(entry) for entry in _entries(file))
                _remove(path)
    if sent:
        say(f"sent to MLflow what {sent} earlier {'run' if sent == 1 else 'runs'} had kept")


def _send_all(
    client: MlflowClient, experiment: str, file: TextIOWrapper, folder: Path
) -> tuple[str, set[tuple[str, int]], Exception | None]:
    """Open the run that the file, of this folder, tells of and send every entry, artifacts last.

    Returns its id, the metrics and steps that it has, and why an artifact could not be sent: they may have a store
    of their own, which is no reason to hold the rest up.
    """
    opened, *entries = _entries(file)
    what = (opened[name] for name in ("opening", "name", "tags", "resumed", "start"))
    id = claim(client, experiment, Opening(*what))
    seen = steps_seen(client, id)
    fault = None
    for entry in sorted(entries, key=lambda entry: "artifact" in entry):
        try:
            if "artifact" in entry:
                entry = {**entry, "artifact": str(folder / entry["artifact"])}
            _send(client, id, entry, seen)
        except Exception as error:
            if _for_ever(error):
                say(f"MLflow refuses {', '.join(entry)} of {opened['name']} ({reason(error)}): left out")
            elif "artifact" in entry:
                fault = error
            else:
                raise
    return id, seen, fault


def _for_ever(error: Exception) -> bool:
    """Return whether there is no use in sending it again: MLflow cannot take it, or it is no longer there to send."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, ErrorCode

    refused = isinstance(error, MlflowException) and error.error_code == ErrorCode.Name(
        INVALID_PARAMETER_VALUE
    )
    return refused or isinstance(error, FileNotFoundError)


def _send(client: MlflowClient, id: str, entry: Entry, seen: set[tuple[str, int]]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

    if "metrics" in entry:
        fresh = {
            (name, step): Metric(name, value, time, step)
            for name, value, time, step in reversed(entry["metrics"])
        }
        points = [point for key, point in reversed(fresh.items()) if key not in seen]
        for first in range(0, len(points), BATCH):
            client.log_batch(id, metrics=points[first : first + BATCH])
        seen |= set(fresh)
    if "params" in entry:
        there = client.get_run(id).data.params
        params = [Param(*pair) for pair in entry["params"].items() if pair[0] not in there]
        for first in range(0, len(params), PARAMS):
            client.log_batch(id, params=params[first : first + PARAMS])
    if "inputs" in entry:
        used = [InputTag("mlflow.data.context", "input")]
        found = [
            DatasetInput(Dataset(path, digest, "local", json.dumps({"uri": path})), used)
            for path, digest in entry["inputs"].items()
        ]
        client.log_inputs(id, found)
    if "tags" in entry:
        set_tags(client, id, entry["tags"])
    if "artifact" in entry:
        path = Path(entry["artifact"])
        (client.log_artifacts if path.is_dir() else client.log_artifact)(id, str(path), entry["folder"])
    if "status" in entry:
        client.set_terminated(id, entry["status"], entry["end"])


def _entries(file: TextIOWrapper) -> list[Entry]:
    """Return the lines of an outbox; one that was cut when its writer was killed is left out."""
    file.seek(0)
    found = []
    for line in file:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


@contextmanager
def _taken(path: Path) -> Iterator[TextIOWrapper | None]:
    """Return the file, locked; None if its run is still open, or if somebody else sends it or has sent it."""
    try:
        file = path.open("r+")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file if os.fstat(file.fileno()).st_nlink else None


def _folder(path: Path) -> Path:
    """Return where the artifacts of an outbox are kept."""
    return path.with_suffix("")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    shutil.rmtree(_folder(path), ignore_errors=True)
