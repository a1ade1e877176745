"""A stage's learning rate is transformers' warm-up, stable, decay schedule, to the bit."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import get_wsd_schedule

from jokbo import params
from jokbo.training.schedules import trapezoid
from tests.support.networks import training


@given(st.integers(1, 40), st.integers(0, 12), st.floats(0.0, 1.0))
def test_it_is_that_of_transformers(steps: int, warmup: int, decay_fraction: float) -> None:
    settings = training(steps, warmup_steps=min(warmup, steps - 1), decay_fraction=decay_fraction)
    assert rates(trapezoid(settings), steps) == rates(reference(settings), steps)


def reference(settings: params.Training):
    warmup = settings.warmup_steps
    return lambda optimizer: get_wsd_schedule(
        optimizer,
        num_warmup_steps=warmup,
        num_decay_steps=max(1, round(settings.decay_fraction * (settings.steps - warmup))),
        num_training_steps=settings.steps,
        decay_type="linear",
    )


def rates(schedule, steps: int) -> list[float]:
    """Return the learning rate of every step, and of two beyond the last."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.3)
    made, found = schedule(optimizer), []
    for _ in range(steps + 2):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return found
