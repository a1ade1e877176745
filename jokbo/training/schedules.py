"""Learning rates over the steps of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

if TYPE_CHECKING:
    from jokbo.params import Training

Schedule = Callable[[torch.optim.Optimizer], LRScheduler]


def trapezoid(settings: Training) -> Schedule:
    """Return the schedule of a stage: linear warm-up, level, linear decay to zero over the last `decay_fraction` of the
    steps.

    transformers has the same, but importing it imports peft and bitsandbytes, which takes seconds.
    """
    warmup = settings.warmup_steps
    decay = max(1, round(settings.decay_fraction * (settings.steps - warmup)))
    level_until = settings.steps - decay

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return min(1.0, max(0.0, 1.0 - (step - level_until) / decay))

    return lambda optimizer: LambdaLR(optimizer, factor)
