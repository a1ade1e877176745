"""Learning rates over the steps of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_wsd_schedule

if TYPE_CHECKING:
    from jokbo.params import Training

Schedule = Callable[[torch.optim.Optimizer], LRScheduler]


def trapezoid(settings: Training) -> Schedule:
    """Return the schedule of a stage: linear warm-up, level, linear decay to zero over the last `decay_fraction` of the
    steps."""
    return lambda optimizer: get_wsd_schedule(
        optimizer,
        num_warmup_steps=settings.warmup_steps,
        num_decay_steps=max(1, round(settings.decay_fraction * (settings.steps - settings.warmup_steps))),
        num_training_steps=settings.steps,
        decay_type="linear",
    )
