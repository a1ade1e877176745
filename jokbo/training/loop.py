"""The loop that every training shares, PPO included: go on from a checkpoint, step, check, log, save, stop.

A checkpoint is taken at a step's end and holds all that the next step needs; SIGTERM saves and stops. So a run that was
killed and started again ends with the same weights, bit for bit, as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepspeed import DeepSpeedEngine
from torch import Tensor, nn

from jokbo.runtime.errors import InputError
from jokbo.runtime.interruption import Interrupted, Stop, polled
from jokbo.runtime.progress import Progress
from jokbo.training import checkpoints, processes
from jokbo.training.job import Job
from jokbo.training.trail import Trail

Row = dict[str, float]
Engines = Mapping[str, DeepSpeedEngine]


@dataclass
class State:
    """How far a training is: the steps that are done, and what a checkpoint holds beside its engines."""

    done: int
    values: dict[str, Any]  # `history`: a row of metrics a step; and what the training itself keeps there
    kept: dict[str, Tensor] = field(
        default_factory=dict
    )  # weights, by name, that a checkpoint holds beside its own

    @property
    def history(self) -> list[Row]:
        return self.values.setdefault("history", [])

    @property
    def trail(self) -> Trail:
        return Trail(self.values)


def restored(job: Job, engines: Engines) -> State:
    """Return where the training stands, with the engines as they were there: at its last checkpoint, or the start."""
    if job.checkpoints is None:
        return State(0, {})
    step, values = checkpoints.restore(job.checkpoints, engines)
    return State(step, values, checkpoints.kept(job.checkpoints, step))


def loop(
    job: Job,
    engines: Engines,
    state: State,
    steps: int,
    one: Callable[[int], Row],
    shown: Mapping[str, str],
) -> list[Row]:
    """Do the steps that are left, `one(step)` each, counted from 1; return the row of metrics of every step.

    `one` trains the engines, may change `state.values`, and returns its metrics, which are logged as NAME/metric. It
    tells `state.trail` of its batch and its loss.
    `shown` names those on the terminal: {"length": "response_length"}.

    Raises Interrupted after SIGTERM, with a checkpoint of the last whole step on disk; InputError at the first loss,
    gradient or weight that is not a finite number, and saves nothing then.
    """
    saver, trail = _Saver(job, engines), state.trail
    if job.checkpoints is not None:
        job.run.trails[job.checkpoints] = trail.marks  # to which marks are added
    compiles = any(engine.is_compiled for engine in engines.values())
    with polled() as stop, Progress(job.name, steps, done=state.done, compiles=compiles) as progress:
        while state.done < steps:
            row = one(state.done + 1)
            state.done += 1
            check_finite(job.name, state.done, row)
            state.history.append({"step": state.done, **row})
            trail.done(state.done, steps, engines)
            job.run.log({f"{job.name}/{key}": value for key, value in row.items()}, step=state.done)
            progress.advance(**{label: row[key] for label, key in shown.items()})
            saver.step_done(state, last=state.done == steps, stopping=stop.requested)
        saver.check_no_stop(stop)  # while the last checkpoint was written
    return state.history


class _Saver:
    """Checkpoints at the end of a step: when one is due, at the last step, and before a stop."""

    def __init__(self, job: Job, engines: Engines) -> None:
        self.job, self.engines = job, engines
        self.saved_at = time.monotonic()

    def step_done(self, state: State, *, last: bool, stopping: bool) -> None:
        """Save if it is due, or before a stop. Every rank calls it after each step.

        Raises Interrupted, once saved, if any rank was told to stop, and InputError instead of saving weights that are
        not finite.
        """
        folder = self.job.checkpoints
        stopping = processes.any_rank(stopping)
        due = processes.any_rank(time.monotonic() - self.saved_at >= self.job.compute.checkpoint_seconds)
        saves = folder is not None and (last or stopping or due)
        if last or saves:
            check_weights(self.job.name, state.done, self.engines)
        if folder is not None and saves:
            self.job.run.flush()  # first, so that a resume from here has nothing before it to log again
            checkpoints.save(folder, state.done, self.engines, state.values, state.kept)
            self.saved_at = time.monotonic()
        if stopping:
            saved = f"saved at step {state.done}" if folder else "nothing to save"
            raise Interrupted(f"{saved}: run again to go on from there")

    def check_no_stop(self, stop: Stop) -> None:
        """Raise Interrupted if any rank was told to stop after the last step."""
        if processes.any_rank(stop.requested):
            raise Interrupted(f"{self.job.name} is trained: run again to go on from there")


def trained(engine: DeepSpeedEngine) -> nn.Module:
    """Return what the engine trains, as it was given."""
    assert isinstance(engine.module, nn.Module)
    return engine.module


def check_finite(name: str, step: int, row: Row) -> None:
    """Raise InputError if a loss or the gradient of this step of the training is not a finite number."""
    for key, value in row.items():
        if (key.endswith("loss") or key == "gradient_norm") and not math.isfinite(value):
            raise _diverged(name, f"{key} is {value} at step {step}")


def check_weights(name: str, step: int, engines: Engines) -> None:
    """Raise InputError if this step has left a weight that is not a finite number, which no loss before it tells."""
    # under ZeRO 3 those that this rank holds
    mine = (
        getattr(parameter, "ds_tensor", parameter)
        for engine in engines.values()
        for parameter in trained(engine).parameters()
    )
    if processes.any_rank(not all(bool(weights.isfinite().all()) for weights in mine)):
        raise _diverged(name, f"the weights are not finite after step {step}")


def _diverged(name: str, found: str) -> InputError:
    return InputError(
        f"{name}: {found}: lower the learning rate of this training in params.yaml (or raise its warmup_steps, or set "
        "its precision to fp32)"
    )
