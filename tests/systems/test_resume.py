"""Every system trains in the engine, in bf16, and goes on after a stop as if there had been none."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from jokbo.comparison.training_settings import adafactor
from jokbo.runtime.interruption import Interrupted
from jokbo.runtime.tracking import Run
from jokbo.training import engine
from jokbo.training.job import Job
from tests.support.networks import compute, training
from tests.systems import all_systems
from tests.systems.all_systems import NAMES, SPECIAL_TOKENS, module_of, size_of
from tests.systems.running_text import SIZE

STEPS, STOPPED_IN = 4, 2


def trained(
    name: str, folder: Path, teacher: Path, stopped_in: int | None = None
) -> tuple[list, list[Tensor]]:
    """The metrics of each step and the last weights; the process may be told to stop in a step."""
    system, text = module_of(name), all_systems.text()
    network = system.network(size_of(name, teacher, dropout=0.2), SPECIAL_TOKENS, 0)
    before = [weight.clone() for weight in network.state_dict().values()]

    def batch_at(step: int) -> engine.Batch:
        return system.batch(text, step, 8, SIZE.context, 0)

    def stop(step: int) -> None:
        if step == stopped_in:
            os.kill(os.getpid(), signal.SIGTERM)

    objective = system.Objective(network, SPECIAL_TOKENS)
    history = engine.train(
        objective,
        batch_at,
        training(STEPS, precision="bf16"),
        Job(name, 1, compute(), Run(), folder),
        engine.Overrides(adafactor(0.03, objective) if name == "t5" else None),
        stop,
    )
    weights = list(network.state_dict().values())
    assert not all(torch.equal(old, new) for old, new in zip(before, weights, strict=True))
    return history, weights


@pytest.mark.parametrize("name", NAMES)
def test_stopped_and_run_again_it_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    history, weights = trained(name, tmp_path / "undisturbed", teacher)
    with pytest.raises(Interrupted, match=f"saved at step {STOPPED_IN}"):
        trained(name, tmp_path / "stopped", teacher, stopped_in=STOPPED_IN)
    resumed_history, resumed = trained(name, tmp_path / "stopped", teacher)
    assert resumed_history == history
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(resumed, weights, strict=True))
