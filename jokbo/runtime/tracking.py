"""MLflow: what a stage says about itself. A resumed stage reopens its run; statuses tell the truth.

No training dies of its tracker: what MLflow does not take is kept, said in one line, and sent later
(jokbo/runtime/outbox.py).
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.runtime import environment
from jokbo.runtime.files import refusal
from jokbo.runtime.mlflow_runs import KEY, SUPERSEDED, find_run
from jokbo.runtime.mlflow_store import EXPERIMENT, local_store, say
from jokbo.runtime.outbox import Outbox, send_left
from jokbo.runtime.secrets import hidden_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "EXPERIMENT",
    "KEY",
    "SUPERSEDED",
    "Run",
    "Subject",
    "find_run",
    "flat",
    "local_store",
    "open_run",
    "send_left",
]
TABLES = "mlflow.loggedArtifacts"  # tag: which artifacts MLflow shows as tables, not as JSON
FLUSH_SECONDS = 10.0  # a flush takes a tenth of a second
STATE = Path(".jokbo")


class Run:
    """What a stage says about itself while it runs. Without an outbox (ranks above 0) it says nothing."""

    def __init__(self, outbox: Outbox | None = None) -> None:
        self._outbox = outbox
        self._buffer: list[list[Any]] = []
        self._buffering = threading.Lock()
        self._flushed = time.monotonic()
        self._tables: list[dict[str, str]] = []
        # the marks of each training (jokbo/training/trail.py), by the folder of its checkpoints
        self.trails: dict[Path, list[Any]] = {}

    @property
    def id(self) -> str | None:
        """The run's id in MLflow; until that was reached, a number of ours, which it then has as a tag."""
        return self._outbox.id if self._outbox else None

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, buffered for some seconds. What the run has at this step already is left out: a
        stage that resumes repeats the steps after its last checkpoint."""
        if self._outbox is None:
            return
        self.buffer(metrics, step)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def buffer(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Have numbers sent with those that are logged next. Another thread may call it."""
        now = int(time.time() * 1000)
        with self._buffering:
            self._buffer += [[name, float(value), now, step or 0] for name, value in metrics.items()]

    def flush(self) -> None:
        """Send what is buffered. Call it before a checkpoint: a resume repeats nothing from before it."""
        with self._buffering:
            buffered, self._buffer = self._buffer, []
        if self._outbox is not None and buffered:
            self._outbox.put({"metrics": buffered})
        self._flushed = time.monotonic()

    def tag(self, name: str, value: str) -> None:
        """Set a tag of the run."""
        if self._outbox is not None:
            self._outbox.put({"tags": {name: value}})

    def inputs(self, digests: Mapping[str, str]) -> None:
        """Say what the run reads, paths and their hashes: MLflow shows them as data sets."""
        if self._outbox is not None and digests:
            self._outbox.put({"inputs": dict(digests)})

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file or of a folder in the run, under `folder` of its artifacts."""
        if self._outbox is not None:
            self._outbox.put({"artifact": str(path), "folder": folder})

    def figure(self, figure: Figure, name: str) -> None:
        """Keep a matplotlib figure as the artifact `name` (curves.png, curves.svg)."""
        self._made(name, figure.savefig)

    def text(self, text: str, name: str) -> None:
        """Keep a text as the artifact `name` (samples.txt)."""
        self._made(name, lambda path: path.write_text(text, "utf-8", "surrogateescape"))

    def table(self, rows: list[dict[str, Any]], name: str) -> None:
        """Keep rows as the artifact `name` (a .json that `mlflow ui` shows as a table)."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        data = [[row.get(column) for column in columns] for row in rows]
        self.text(json.dumps({"columns": columns, "data": data}, indent=2), name)
        self._tables.append({"path": name, "type": "table"})
        self.tag(TABLES, json.dumps(self._tables))

    def _made(self, name: str, write: Callable[[Path], Any]) -> None:
        if self._outbox is None:
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, Path(name).name)
                write(path)
                self.artifact(path, str(Path(name).parent) if "/" in name else None)
        except OSError as error:  # no training ends of what MLflow would show
            say(f"{name} is not in MLflow: {refusal(error) or error}")


@dataclass(frozen=True)
class Subject:
    """What a run is of."""

    name: str  # of the stage, or `pipeline`
    key: str  # the identity
    params: Mapping[str, Any]
    tags: Mapping[str, str]


@contextmanager
def open_run(
    of: Subject,
    *,
    tracking_uri: str,
    resumed: bool = False,
    state: Path = STATE,
    made_in: Sequence[Mapping[str, Any]] | None = None,
) -> Iterator[Run]:
    """Yield the run of an identity, and of this person, host and folder. It is reopened if there is one, else new,
    with the parameters (flattened: a.b.c) and the environments that it is `made_in`, this process's last (by default:
    alone).

    A finished run is continued only by a stage that `resumed`; beside one that starts afresh it is superseded: each
    identity, person, host and folder has one live run. The run ends FINISHED; KILLED if told to stop; FAILED if
    the body raised. `state` is the project's .jokbo.
    """
    made_in = made_in or [environment.collect()]
    outbox = Outbox(tracking_uri, state, of.name, of.key, resumed)
    outbox.put(
        {"params": {param: str(value) for param, value in flat(hidden_in(of.params)).items()}},
        {"tags": {**of.tags, **environment.tags(made_in[-1])}},
    )
    run = Run(outbox)
    try:
        run.text(environment.text(list(made_in)), "environment.json")
        yield run
        status = "FINISHED"
    except BaseException as error:  # Interrupted, KeyboardInterrupt, Prefect's signals
        status = "FAILED" if isinstance(error, Exception | SystemExit) else "KILLED"
        raise
    finally:
        run.flush()
        outbox.put({"status": status, "end": int(time.time() * 1000)})
        outbox.close()


def flat(params: Mapping[str, Any], separator: str = ".", prefix: str = "") -> dict[str, Any]:
    """Return the nested mappings as one: {"a": {"b": 1}} -> {"a.b": 1}. MLflow groups metrics whose names have `/`."""
    pairs: dict[str, Any] = {}
    for name, value in params.items():
        nested = isinstance(value, Mapping) and value
        pairs |= (
            flat(value, separator, f"{prefix}{name}{separator}") if nested else {f"{prefix}{name}": value}
        )
    return pairs
