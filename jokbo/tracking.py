"""MLflow: one run for each identity of a stage. A resumed stage reopens its run; statuses tell the truth."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from jokbo.training.interruption import Interrupted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as Record

EXPERIMENT = "jokbo"
KEY = "jokbo.key"  # tag: identity of what ran
PROCESS = "jokbo.process"  # tag: host, pid and start of the process that writes the run
FLUSH_SECONDS = 10.0  # a flush takes a tenth of a second
BATCH = 1000  # the most metrics, and the store's limit, of one log_batch


def local_store(folder: Path) -> str:
    """The tracking URI to use: the user's MLFLOW_TRACKING_URI, else a sqlite file in `folder`.

    The path is absolute, since a stage may run in another folder (`dvc exp run --temp`).
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"


class Run:
    """What a stage says about itself while it runs. Without a client (ranks above 0) it says nothing."""

    def __init__(self, client: MlflowClient | None = None, id: str | None = None) -> None:
        self.id = id
        self._client = client
        self._buffer: list[Metric] = []
        self._flushed = time.monotonic()
        self._seen = _steps_seen(client, id) if client else set()

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, buffered for some seconds. What the run has at this step already is left out: a
        stage that resumes repeats the steps after its last checkpoint."""
        if self._client is None:
            return
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), step or 0
        for name, value in metrics.items():
            if (name, step) not in self._seen:
                self._seen.add((name, step))
                self._buffer.append(Metric(name, float(value), now, step))
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what is buffered. Call it before a checkpoint: a resume repeats nothing from before it."""
        while self._buffer:
            batch, self._buffer = self._buffer[:BATCH], self._buffer[BATCH:]
            self._client.log_batch(self.id, metrics=batch)
        self._flushed = time.monotonic()

    def tag(self, name: str, value: str) -> None:
        """Set a tag of the run."""
        if self._client is not None:
            self._client.set_tag(self.id, name, value)

    def artifact(self, path: Path) -> None:
        """Keep a copy of a file or of a folder in the run."""
        if self._client is None:
            return
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        log(self.id, str(path))

    def figure(self, figure: Figure, name: str) -> None:
        """Keep a matplotlib figure as the artifact `name` (curves.png, curves.html)."""
        if self._client is not None:
            self._client.log_figure(self.id, figure, name)

    def text(self, text: str, name: str) -> None:
        """Keep a text as the artifact `name` (samples.txt)."""
        if self._client is not None:
            self._client.log_text(self.id, text, name)

    def table(self, rows: list[dict[str, Any]], name: str) -> None:
        """Keep rows as the artifact `name` (a .json that `mlflow ui` shows as a table)."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        data = [[row.get(column) for column in columns] for row in rows]
        if self._client is not None:
            self._client.log_dict(self.id, {"columns": columns, "data": data}, name)


@contextmanager
def open_run(
    name: str,
    key: str,
    *,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    tracking_uri: str,
    resumed: bool = False,
) -> Iterator[Run]:
    """The run of identity `key`: reopened if there is one, else a new one with `params` (flattened: a.b.c).

    A finished run is continued only by a stage that `resumed`; one that starts afresh takes its place: an
    identity has one live run. The run ends FINISHED; KILLED if told to stop; FAILED if the body raised.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    experiment = _experiment(client, tracking_uri)
    _bury(client, experiment)
    record = find_run(client, key)
    if record and record.info.status == "FINISHED" and not resumed:
        client.delete_run(record.info.run_id)
        record = None
    if record is None:
        record = _create(client, experiment, name, key, params)
    run = Run(client, record.info.run_id)
    for tag, value in {**tags, PROCESS: _process(psutil.Process())}.items():
        run.tag(tag, value)
    client.update_run(run.id, status="RUNNING")  # with its new owner's tag: another process may be burying
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except (Interrupted, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        run.flush()
        client.set_terminated(run.id, status)


def find_run(client: MlflowClient, key: str) -> Record | None:
    """The live run of identity `key`."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    found = client.search_runs([experiment.experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1)
    return found[0] if found else None


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one: {"a": {"b": 1}} -> {"a.b": 1}."""
    pairs: dict[str, Any] = {}
    for name, value in params.items():
        nested = isinstance(value, Mapping) and value
        pairs |= flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return pairs


def _experiment(client: MlflowClient, tracking_uri: str) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found:
        return found.experiment_id
    location = None
    if tracking_uri.startswith(
        "sqlite:///"
    ):  # left to itself, MLflow would write artifacts to the current folder
        location = (Path(tracking_uri.removeprefix("sqlite:///")).parent / "mlartifacts").as_uri()
    return client.create_experiment(EXPERIMENT, artifact_location=location)


def _create(client: MlflowClient, experiment: str, name: str, key: str, params: Mapping[str, Any]) -> Record:
    from mlflow.entities import Param

    record = client.create_run(experiment, run_name=name, tags={KEY: key})
    batch = [Param(param, str(value)) for param, value in flat(params).items()]
    client.log_batch(record.info.run_id, params=batch)
    return record


def _bury(client: MlflowClient, experiment: str) -> None:
    """Mark as KILLED the runs of processes of this machine that are no more (SIGKILL leaves them RUNNING)."""
    host = socket.gethostname()
    for record in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        process = record.data.tags.get(PROCESS, "")
        owner, _, rest = process.partition(" ")
        if owner == host and not _alive(int(rest.split()[0]), process):
            client.set_terminated(record.info.run_id, "KILLED")


def _alive(pid: int, process: str) -> bool:
    try:
        return _process(psutil.Process(pid)) == process
    except psutil.Error:
        return False


def _process(process: psutil.Process) -> str:
    """Host, pid and start time: a pid alone may be somebody else's by now."""
    return f"{socket.gethostname()} {process.pid} {process.create_time():.0f}"


def _steps_seen(client: MlflowClient, id: str) -> set[tuple[str, int]]:
    names = client.get_run(id).data.metrics
    return {(name, point.step) for name in names for point in client.get_metric_history(id, name)}
