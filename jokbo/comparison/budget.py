"""How many steps a budget pays for, so that different systems can be trained at equal cost.

A budget is in tokens read, in floating-point operations, or in seconds. The first two are functions of the settings
alone; seconds are measured on the machine at hand, once, and kept where a resumed run finds them again.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from jokbo.runtime import files
from jokbo.runtime.tracking import Run
from jokbo.training import engine, processes
from jokbo.training.job import Job

if TYPE_CHECKING:
    from jokbo.params import Compute, Training
    from jokbo.params.family import Budget
    from jokbo.training.engine import Batch

TIMED_STEPS, FIRST_STEPS = 5, 3  # the first ones allocate memory and choose kernels


def steps_for(
    budget: Budget,
    *,
    tokens: float,
    flops: float,
    timed: Callable[[], float],
    read_if_there: Path,
) -> int:
    """Return the number of steps, at least 1, that the budget pays for.

    `tokens` and `flops` are those of a step; `timed()` measures its seconds on this rank, of which those of the slowest
    are kept in the file `read_if_there`.
    """
    if budget.by == "tokens":
        return max(1, round(budget.amount / tokens))
    if budget.by == "flops":
        return max(1, round(budget.amount / flops))
    if files.read_if_there(read_if_there) is None:
        seconds = processes.largest(timed())  # before any rank can have written the file
        if processes.rank() == 0:
            files.write_text(read_if_there, json.dumps({"seconds_a_step": seconds}))
        processes.meet()
    return max(1, round(budget.amount / files.read_json(read_if_there)["seconds_a_step"]))


def flops_of(objective: nn.Module, batch: Batch) -> int:
    """Return the floating-point operations of the matrix products of one step, forward and backward (a multiplication
    and an addition are two). Counted by doing it, with recurrent layers and attention taken apart into products.
    """
    with (
        warnings.catch_warnings(action="ignore"),  # of GPUs that are not there
        torch.random.fork_rng(),
        torch.backends.mkldnn.flags(enabled=False),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        objective(**batch)[0].backward()
    objective.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def seconds_of(
    objective: nn.Module,
    batch_at: Callable[[int], Batch],
    settings: Training,
    compute: Compute,
    optimizer_of: Callable[[nn.Module], torch.optim.Optimizer | None] = lambda objective: None,
) -> float:
    """Return the seconds of one step of a training, of making its batch too: the medians of some, on a copy, which
    leaves `objective` as it is. Where batches are made beside the training, those of the slower of the two.

    `settings` are of the training itself, whose steps are not looked at; `optimizer_of` the copy is its optimizer,
    where that is not the one that they name.
    """
    steps = FIRST_STEPS + TIMED_STEPS
    copied, batches, made, ends = copy.deepcopy(objective), [], [], []
    for step in range(steps):  # all before the training, which would make many between two of its steps
        batches.append(batch_at(step))
        made.append(time.perf_counter())
    with torch.random.fork_rng():
        engine.train(
            copied,
            batches.__getitem__,
            settings.model_copy(update={"steps": steps, "warmup_steps": 0}),
            Job("time a step", seed=0, compute=compute, run=Run(), checkpoints=None),
            engine.Overrides(optimizer_of(copied), compiled=False),
            after_step=lambda step: ends.append(time.perf_counter()),
        )
    making = statistics.median(end - start for start, end in pairwise(made[FIRST_STEPS - 1 :]))
    training = statistics.median(end - start for start, end in pairwise(ends[FIRST_STEPS - 1 :]))
    return max(making, training) if engine.beside_training() else making + training
