"""What a run is told, what it writes down as it goes, and its checkpoint."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jokbo.control.network import Network
from jokbo.control.settings import Setting, Task
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import writing

POINTS = 20  # of a learning curve
CHECKPOINT_SECONDS = 5.0
DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError)


@dataclass
class Record:
    """The episodes of a run and its learning curve, as they come."""

    total: int  # steps of the whole run
    last_episodes: int
    steps: int = 0  # done
    episodes: list[list[float]] = field(default_factory=list)  # that ended: steps done by then, return
    points: list[dict[str, float]] = field(default_factory=list)  # of the curve
    since: list[dict[str, float]] = field(default_factory=list)  # measures since the last point

    def add(self, steps: int, episodes: Sequence[tuple[int, float]], measures: Mapping[str, float]) -> None:
        """Write down steps that were done, the episodes that ended in them, and the measures of their update."""
        self.steps += steps
        self.episodes += [[*each] for each in episodes]
        self.since.append(dict(measures))
        if self.steps * POINTS >= self.total * (len(self.points) + 1) or self.steps >= self.total:
            means = {name: float(np.mean([each[name] for each in self.since])) for name in measures}
            earned = {} if (mean := self.mean_return()) is None else {"return": mean}
            self.points.append({"steps": self.steps, **earned, **means})
            self.since = []

    def mean_return(self) -> float | None:
        """Return the mean of the last episodes; None before one has ended."""
        last = [earned for _, earned in self.episodes[-self.last_episodes :]]
        return float(np.mean(last)) if last else None


@dataclass(frozen=True)
class Job:
    """One run: a setting on a task with a seed."""

    task: str  # its name in control/params.yaml
    where: Task
    setting: Setting
    seed: int
    hidden_sizes: tuple[int, ...]
    last_episodes: int
    folder: Path  # of its checkpoint and of its row
    checkpoint_seconds: float = CHECKPOINT_SECONDS

    @property
    def name(self) -> str:
        return f"{self.setting.name}, {self.task}, seed {self.seed}"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def network(self, observations: int, actions: int) -> Network:
        """Return the network before the first update."""
        return Network(observations, actions, self.hidden_sizes, self.seed)

    def restored(self) -> tuple[Record, dict[str, Any]]:
        """Return the record and what else the checkpoint holds; a fresh record and nothing where there is none."""
        if not self.checkpoint.is_file():
            return Record(self.where.steps, self.last_episodes), {}
        try:
            kept = torch.load(self.checkpoint, weights_only=True)
            return Record(**kept.pop("record")), kept
        except (*DAMAGE, TypeError) as error:
            raise InputError(
                f"{self.checkpoint}: not whole ({type(error).__name__}): remove it to train anew"
            ) from error

    def save(self, record: Record, kept: Mapping[str, Any]) -> None:
        """Write the checkpoint aside, bring it to the disk, and put it in its place."""
        partial = self.checkpoint.with_suffix(".partial")
        with writing(self.checkpoint):
            self.folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save({**kept, "record": asdict(record)}, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.checkpoint)


class Saving:
    """When a run saves next: so many seconds after it did."""

    def __init__(self, job: Job) -> None:
        self.job, self.at = job, time.monotonic()

    def due(self) -> bool:
        """Return whether it is time; the next time is counted from then."""
        if time.monotonic() - self.at < self.job.checkpoint_seconds:
            return False
        self.at = time.monotonic()
        return True


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    record: Record
    weights: Tensor  # all of the network's, as one vector

    def digest(self) -> str:
        """Return the sha256 of the weights."""
        return hashlib.sha256(self.weights.numpy().tobytes()).hexdigest()


def check_finite(job: Job, weights: Tensor) -> None:
    """Raise InputError unless all weights are finite."""
    if not bool(weights.isfinite().all()):
        raise InputError(f"{job.name}: the weights are not finite: lower its learning_rate")
