"""Pretraining a system for the budget that all share, and what is measured of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from jokbo.comparison import budget
from jokbo.comparison.context import of_context
from jokbo.comparison.copying import copying
from jokbo.comparison.system import OpenedSystem
from jokbo.runtime.files import read_if_there, read_json, write_text
from jokbo.systems.common import save
from jokbo.systems.protocol import Noam, OneCycle
from jokbo.training import engine, processes
from jokbo.training.job import Job
from jokbo.training.loop import Row
from jokbo.training.schedules import Schedule

if TYPE_CHECKING:
    from jokbo.params import Training


@dataclass(frozen=True)
class Pretrained:
    """A pretrained network, its curve, and what was measured of it."""

    network: nn.Module
    history: list[Row]
    metrics: dict[str, Any]


def pretrain(job: Job, system: OpenedSystem) -> Pretrained:
    """Return the system, trained for as many steps as the budget pays for."""
    own, module = system.own, system.module
    network = system.fresh(system.settings.seed)
    objective = module.Objective(network, system.special_tokens)
    # the ramp of a batch that grows is as dear as steps of its mean size
    rows = [system.rows_at(thousandth / 1000) for thousandth in range(1000)]
    mean_rows = sum(rows) / len(rows)
    flops = (
        budget.flops_of(objective, system.batch(system.train, 0, own.batch_size)) * mean_rows / own.batch_size
    )

    def timed() -> float:
        usual = min(rows, key=lambda some: abs(some - mean_rows))  # in a whole batch a row takes less time

        def batch_at(step: int) -> engine.Batch:
            return system.batch(system.train, step, usual)

        seconds = budget.seconds_of(objective, batch_at, system.training(1), job.compute, system.optimizer)
        return seconds * mean_rows / usual

    steps = budget.steps_for(
        system.settings.budget,
        tokens=mean_rows * own.context,
        flops=flops,
        timed=timed,
        read_if_there=job.folder / "budget.json",
    )
    before = held_out(system, objective)
    history, seconds = _timed(job, system, objective, steps)
    losses = {
        "before": before,
        "nats": held_out(system, objective),
        "unigram": system.unigram,
        "copying": copying(system),
        "context": of_context(system, objective),
    }
    metrics = {
        "title": module.TITLE,
        "year": module.YEAR,
        "objective": module.OBJECTIVE,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "steps": steps,
        "tokens": round(steps * mean_rows * own.context),
        "flops": float(steps * flops),
        "seconds": seconds,
        "pretraining": {"kind": module.NATS, **losses},
    }
    return Pretrained(network, history, metrics)


def trained(
    job: Job,
    system: OpenedSystem,
    objective: nn.Module,
    settings: Training,
    own: engine.Overrides,
    after_step: Callable[[int], None] | None = None,
) -> list[Row]:
    """Train the objective in place, with the batches of the system; return the curve."""

    def batch_at(step: int) -> engine.Batch:
        return system.batch(system.train, step, system.rows_at(step / settings.steps))

    return engine.train(objective, batch_at, settings, job, own, after_step)


def schedule_of(system: OpenedSystem, settings: Training, *, warms_up: bool = True) -> Schedule | None:
    """Return the learning rate as the system's paper has it, 1 at its top; None: the engine's own.

    Noam's without a warm-up begins at the top, and is the same from where the warm-up would have ended.
    """
    module, hidden_size = system.module, system.size.hidden_size
    steps, warmup = settings.steps, max(1, settings.warmup_steps)

    def noam(step: int) -> float:
        of = cast(Noam, module).noam
        position = step + 1 if warms_up else max(step + 1, warmup)
        return of(position, hidden_size, warmup) / of(warmup, hidden_size, warmup)

    def one_cycle(step: int) -> float:
        return cast(OneCycle, module).rate(step / steps)

    rate = {"trapezoid": None, "noam": noam, "one_cycle": one_cycle}[system.own.schedule]
    return rate and (lambda optimizer: LambdaLR(optimizer, rate))


def revisions(job: Job) -> Path:
    """Return where checkpoints at steps of powers of two are kept, as of Pythia (Biderman et al. 2023, section 2.4)."""
    return job.folder / "revisions"


@torch.no_grad()
def held_out(system: OpenedSystem, objective: nn.Module) -> float:
    """Return the held-out loss of a predicted token, nats, over the same rows of validation text each time."""
    objective.eval().to(processes.device())
    found = []
    for step in range(system.settings.held_out_batches):
        batch = system.batch(system.validation, step, system.own.batch_size)
        loss, parts = objective(**{key: value.to(processes.device()) for key, value in batch.items()})
        found.append(float({"loss": loss, **parts}[system.module.NATS]))
    return sum(found) / len(found)


def _timed(job: Job, system: OpenedSystem, objective: nn.Module, steps: int) -> tuple[list[Row], float]:
    """Return the curve, and the seconds that its steps took, also of a run that went on with one: what a start costs,
    and steps that a kill made it do again, are no part of them.
    """
    known, last = job.folder / "seconds.json", None
    spent = read_if_there(known) or {"steps": 0, "seconds": 0.0}

    def count(step: int) -> None:
        nonlocal last
        now = time.monotonic()
        if last is not None:
            spent["steps"] += 1
            spent["seconds"] += now - last
        last = now
        leads = processes.rank() == 0
        if system.own.revisions and leads and step & (step - 1) == 0:
            save(cast(nn.Module, objective.network), revisions(job) / f"step-{step:08d}")
        if leads and (step == steps or step % 50 == 0):
            write_text(known, json.dumps(spent))

    training = system.training(steps)
    schedule = schedule_of(system, training)
    own = engine.Overrides(
        system.optimizer(objective), schedule, compiled=False
    )  # small networks, for a minute
    history = trained(job.part("pretrain"), system, objective, training, own, after_step=count)
    found = read_json(known, f"remove {job.folder}, and it is trained again")
    return history, found["seconds"] * steps / max(found["steps"], 1)
