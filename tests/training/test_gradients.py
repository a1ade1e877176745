"""The gradient of a batch, as the engine hands it to the optimizer, is the same in fp32 however many micro-batches and
ranks share the batch, with sequences of unequal length, for all weights and for adapters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from jokbo.training import engine, methods, processes
from tests.support.networks import compute, lora, training
from tests.training.ranks import in_two_ranks
from tests.training.test_shares import OBJECTIVES

ROWS, MICRO_BATCHES = 8, (1, 2, 4)
METHODS = {"full": training(1).method, "lora": lora()}
CASES = [f"{name}|{kind}|{count}" for name in OBJECTIVES for kind in METHODS for count in MICRO_BATCHES]


class Kept(torch.optim.SGD):
    """It changes nothing, and keeps the gradient that it is given."""

    gradient = torch.empty(0)

    def step(self, closure: None = None) -> None:
        learned = [each for group in self.param_groups for each in group["params"]]
        self.gradient = torch.cat([each.grad.flatten() for each in learned if each.grad is not None])


def gradients(cases: list[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield each case with its gradient, as this process and its fellows compute it together."""
    processes.join()
    for case in cases:
        name, kind, count = case.split("|")
        torch.manual_seed(0)
        objective, batch = OBJECTIVES[name]()
        with methods.applied(objective.eval(), METHODS[kind], 0):
            for weight, values in objective.named_parameters():
                if "lora_B" in weight:  # at zero, nothing would reach the other matrix
                    torch.nn.init.normal_(values, std=0.1)
            kept = Kept([each for each in objective.parameters() if each.requires_grad], lr=1.0)
            rows = ROWS // processes.world() // int(count)
            settings = engine.StepSettings(ROWS, "fp32", 0.0)
            started = engine.start(objective, settings, kept, compute(micro_batch=rows))
            engine.update(started, batch)
            yield case, kept.gradient


RANKS = """
import sys
from pathlib import Path
from safetensors.torch import save_file
from jokbo.training import processes
from tests.training.test_gradients import CASES, gradients
found = dict(gradients(CASES))
if processes.rank() == 0:
    save_file(found, Path(sys.argv[1]) / "found.safetensors")
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Tensor]]:
    """The gradient of each case, by the number of ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    in_two_ranks(RANKS, folder, folder)
    return {1: dict(gradients(CASES)), 2: load_file(folder / "found.safetensors")}


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_is_the_same(found: dict[int, dict[str, Tensor]], name: str, kind: str) -> None:
    whole = found[1][f"{name}|{kind}|1"]
    assert whole.norm() > 1e-3
    for ranks in (1, 2):
        for count in MICRO_BATCHES:
            apart = (found[ranks][f"{name}|{kind}|{count}"] - whole).norm() / whole.norm()
            assert apart <= 1e-6, f"{ranks} ranks, {count} micro-batches: {apart:.1e}"
