"""In what precision a machine computes: bf16 where it has a product of such matrices, elsewhere fp32, which it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from deepspeed.accelerator import get_accelerator
from torch import Tensor, nn

from jokbo.runtime.tracking import Run
from jokbo.training import engine, processes
from jokbo.training.job import Job
from tests.support.networks import compute, optimizer, training

SAID = "jokbo: this machine multiplies no matrices in bf16: it computes in fp32\n"


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    processes.join()
    processes.computed.cache_clear()
    yield
    processes.computed.cache_clear()


class Product(nn.Module):
    """A product of matrices, which says in what it was computed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.linear = nn.Linear(8, 8)
        self.seen: set[torch.dtype] = set()

    def forward(self, x_BD: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        y_BD = self.linear(x_BD)
        self.seen.add(y_BD.dtype)
        return y_BD.float().pow(2).mean(), {}


def _trained(precision: str) -> Product:
    objective = Product()
    settings = training(steps=2, batch_size=4, precision=precision, optimizer=optimizer())
    job = Job("product", 1, compute(), Run(), None)
    engine.train(objective, lambda step: {"x_BD": torch.full((4, 8), step + 1.0)}, settings, job)
    return objective


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bf16_is_computed_where_the_machine_has_it_and_elsewhere_fp32_which_is_said_once(
    has: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "multiplies_bf16", lambda: has)
    trained = _trained("bf16")
    with processes.autocast("bf16"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert (trained.seen, product.dtype) == ({dtype}, dtype)
    assert capsys.readouterr().err.count(SAID) == (not has)
    if not has:
        assert torch.equal(trained.linear.weight, _trained("fp32").linear.weight)


def test_fp32_is_computed_everywhere_and_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert _trained("fp32").seen == {torch.float32}
    assert SAID not in capsys.readouterr().err


def test_deepspeed_which_says_so_of_every_cpu_knows_what_the_machine_has() -> None:
    assert get_accelerator().is_bf16_supported() == processes.multiplies_bf16()
