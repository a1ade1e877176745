"""Runs: which there are, one of them from its beginning to its row, and the rows that are there.

A run is a setting on a task with a seed. Its folder is named by the hash of all that it depends on, its own code among
it, so a row is never that of other settings. It holds `checkpoint.pt` while the run goes on, and then `row.json`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from jokbo.control import a2c, a3c, ppo
from jokbo.control.environments import make, random_returns
from jokbo.control.job import Job, Outcome
from jokbo.control.settings import ControlParams, Setting
from jokbo.runtime import environment
from jokbo.runtime.errors import about, line_of
from jokbo.runtime.files import locked, read_if_there, reason_of, write_text

TRAINED: dict[str, Callable[[Job], Outcome]] = {"a2c": a2c.trained, "a3c": a3c.trained, "ppo": ppo.trained}
# the code of each kind, beside what all share
SHARED = ("environments", "job", "network", "rollouts")
CODE = {"a2c": ("a2c",), "a3c": ("a2c", "a3c"), "ppo": ("ppo",)}
RANDOM_SEED = 0


@dataclass(frozen=True)
class Run:
    """A run, and the hash of all that it depends on."""

    job: Job
    key: str

    @property
    def row(self) -> Path:
        return self.job.folder / "row.json"

    def found(self) -> dict[str, Any] | None:
        """Return the row, if the run has ended."""
        return read_if_there(self.row)


def all_runs(params: ControlParams, folder: Path) -> list[Run]:
    """Return every run, first all of the first seed, so that what is there early tells of all settings."""
    return [
        _run(params, task, setting, seed, folder)
        for seed in params.seeds
        for task in params.tasks
        for setting in params.settings()
    ]


def _run(params: ControlParams, task: str, setting: Setting, seed: int, folder: Path) -> Run:
    where, hidden_sizes = params.tasks[task], tuple(params.hidden_sizes)
    job = Job(task, where, setting, seed, hidden_sizes, params.last_episodes, folder)
    key = hashlib.sha256(json.dumps(told(job), sort_keys=True).encode()).hexdigest()
    return Run(replace(job, folder=folder / key[:16]), key)


def told(job: Job) -> dict[str, Any]:
    """Return all that a run depends on."""
    own, surrogate = job.setting.own, job.setting.surrogate
    return {
        "task": job.where.model_dump(),
        "algorithm": own.model_dump(exclude={"surrogates"}),
        "surrogate": surrogate.model_dump() if surrogate else {},
        "seed": job.seed,
        "hidden_sizes": list(job.hidden_sizes),
        "last_episodes": job.last_episodes,
        "code": {name: _code(Path(__file__).parent / f"{name}.py") for name in (*SHARED, *CODE[own.kind])},
    }


@cache
def _code(path: Path) -> str:
    """Return the hash of a file of code, in which comments, docstrings and line breaks do not count."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def check(params: ControlParams, path: Path) -> None:
    """Raise InputError if a task's environment is not there, or is none that these algorithms can learn."""
    for name, task in params.tasks.items():
        with about(f"{path}: tasks.{name}.environment"):
            make(task.environment).close()


def finished(run: Run) -> dict[str, Any]:
    """Return the row of a run, which is trained if it is not there: from its checkpoint on, if it has one.

    Another process that does the same run is waited for.
    """
    with locked(run.job.folder / "lock", lambda: None):
        if (there := run.found()) is not None:
            return there
        torch.set_num_threads(1)
        start = time.monotonic()
        outcome = TRAINED[run.job.setting.own.kind](run.job)
        record = outcome.record
        row = {
            "task": run.job.task,
            "setting": run.job.setting.name,
            "seed": run.job.seed,
            "return": record.mean_return(),
            "episodes": len(record.episodes),
            "steps": record.steps,
            "seconds": round(time.monotonic() - start, 1),
            "weights": outcome.digest(),
            "machine": environment.machine(environment.collect()),
            "points": record.points,
        }
        write_text(run.row, json.dumps(row) + "\n")
        run.job.checkpoint.unlink(missing_ok=True)
    return row


def at_random(params: ControlParams, folder: Path) -> dict[str, list[float]]:
    """Return the returns of a policy that chooses at random, by task; they are kept, as they take seconds."""
    found = {}
    for name, task in params.tasks.items():
        asked = {"environment": task.environment, "episodes": params.random_episodes, "seed": RANDOM_SEED}
        kept = folder / f"random-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}.json"
        found[name] = read_if_there(kept)
        if found[name] is None:
            found[name] = random_returns(task.environment, RANDOM_SEED, params.random_episodes)
            write_text(kept, json.dumps(found[name]))
    return found


def work(run: Run, alive: Connection) -> None:
    """Do a run in a process of its own, which ends when whoever started it is gone; send a line on what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it hears of a stop

    def ends_with_its_parent() -> None:
        with suppress(OSError):
            alive.poll(None)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=ends_with_its_parent, daemon=True).start()
    try:
        finished(run)
    except Exception as error:
        alive.send(reason_of(error) or f"{type(error).__name__}: {line_of(error)}")
        if reason_of(error) is None:
            raise
