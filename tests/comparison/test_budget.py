"""What a step costs, and how many of them a budget pays for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from jokbo import params
from jokbo.comparison import budget
from jokbo.comparison.budget import FIRST_STEPS, TIMED_STEPS, flops_of, seconds_of, steps_for
from jokbo.training import engine
from tests.support.networks import compute
from tests.training.ranks import in_two_ranks

ROWS, LENGTH, WIDTH, OUT, HEADS = 4, 5, 8, 6, 2
TRAINING = params.Training(
    steps=1,
    batch_size=ROWS,
    precision="bf16",
    optimizer=params.Optimizer(
        name="adamw", learning_rate=0.01, adam_learning_rate=0.01, betas=[0.9, 0.95], weight_decay=0.0
    ),
    warmup_steps=0,
    decay_fraction=0.5,
    gradient_clip=0.0,
)


class Linear(nn.Module):
    """The inputs want a gradient too, as they do inside of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, OUT)
        self.dropout = nn.Dropout(0.5)

    def forward(self, states: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.dropout(self.layer(states)).square().mean(), {}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(WIDTH, OUT, batch_first=True)

    def forward(self, states: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.layer(states)[0].square().mean(), {}


class Attention(nn.Module):
    def forward(self, states: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        heads = states.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(heads, heads, heads).square().mean(), {}


def batch() -> dict[str, Tensor]:
    return {"states": torch.randn(ROWS, LENGTH, WIDTH, requires_grad=True)}


TOKENS = ROWS * LENGTH
# multiplications: forward, and backward twice as many, for the gradients of both factors
PRODUCTS = {
    Linear: 3 * TOKENS * WIDTH * OUT,
    # four gates read input and state; the state before the first token wants no gradient
    Recurrent: 3 * TOKENS * (WIDTH + OUT) * 4 * OUT - ROWS * OUT * 4 * OUT,
    Attention: 3 * 2 * TOKENS * LENGTH * WIDTH,  # scores, then means of values
}


@pytest.mark.parametrize("kind", PRODUCTS)
def test_flops_are_those_of_the_products_counted_by_hand(kind: type[nn.Module]) -> None:
    assert flops_of(kind(), batch()) == 2 * PRODUCTS[kind]


def test_twice_the_rows_are_twice_the_flops() -> None:
    twice = {name: value.repeat(2, 1, 1) for name, value in batch().items()}
    for kind in PRODUCTS:
        assert flops_of(kind(), twice) == 2 * flops_of(kind(), batch())


@pytest.mark.parametrize("measure", ["flops", "seconds"])
def test_measuring_leaves_the_objective_and_chance_as_they_were(measure: str) -> None:
    objective, inputs = Linear(), {"states": torch.randn(ROWS, LENGTH, WIDTH)}
    weights = [weight.clone() for weight in objective.state_dict().values()]
    state = torch.get_rng_state()
    if measure == "flops":
        flops_of(objective, inputs)
    else:
        asked = []

        def batch_at(step: int) -> dict[str, Tensor]:
            asked.append(step)
            return inputs

        assert seconds_of(objective, batch_at, TRAINING, compute()) > 0
        assert asked == list(range(FIRST_STEPS + TIMED_STEPS))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in objective.parameters())
    assert all(torch.equal(*pair) for pair in zip(weights, objective.state_dict().values(), strict=True))


@pytest.mark.parametrize(("beside", "expected"), [(False, 5), (True, 3)], ids=["in pauses", "beside"])
def test_seconds_hold_the_making_of_batches(
    beside: bool, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by 3 in a step and by 2 in the making of a batch."""
    now = [0]
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(engine, "beside_training", lambda: beside)

    class Slow(Linear):
        def forward(self, states: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            now[0] += 3
            return super().forward(states)

    def batch_at(step: int) -> dict[str, Tensor]:
        now[0] += 2
        return batch()

    assert seconds_of(Slow(), batch_at, TRAINING, compute()) == expected


def steps(by: str, amount: float, read_if_there: Path, seconds: float | None = None) -> int:
    """Of 512 tokens and 2e9 operations each; without `seconds` none may be measured."""

    def timed() -> float:
        assert seconds is not None, "measured"
        return seconds

    return steps_for(
        SimpleNamespace(by=by, amount=amount), tokens=512, flops=2e9, timed=timed, read_if_there=read_if_there
    )


@pytest.mark.parametrize(
    ("by", "amount", "expected"),
    [
        ("tokens", 51200, 100),
        ("tokens", 51200 + 300, 101),
        ("tokens", 1, 1),
        ("flops", 4e12, 2000),
        ("flops", 1, 1),
    ],
)
def test_tokens_and_flops_are_steps_by_arithmetic(
    by: str, amount: float, expected: int, tmp_path: Path
) -> None:
    read_if_there = tmp_path / "budget.json"
    assert steps(by, amount, read_if_there) == expected
    assert not read_if_there.exists()


def test_seconds_are_measured_once(tmp_path: Path) -> None:
    """On a machine that is busier when the run goes on, too; more seconds are as many more steps."""
    read_if_there = tmp_path / "not yet" / "budget.json"
    assert steps("seconds", 60, read_if_there, 0.25) == 240
    assert steps("seconds", 60, read_if_there) == 240
    assert steps("seconds", 90, read_if_there) == 360
    assert steps("seconds", 0.1, read_if_there) == 1
    assert [path.name for path in read_if_there.parent.iterdir()] == ["budget.json"]


RANKS = """
import sys
from pathlib import Path
import torch
from tests.support.networks import compute
from tests.comparison.test_budget import TRAINING, Linear, steps
from jokbo.comparison import budget
from jokbo.training import processes
processes.join()
folder, rows = Path(sys.argv[1]), []

class Watched(Linear):
    def forward(self, states):
        rows.append(states[0, 0, 0].item())
        assert len(states) == 2
        return super().forward(states)

batch = {"states": torch.arange(4.0)[:, None, None].expand(4, 5, 8)}
assert budget.seconds_of(Watched(), lambda step: batch, TRAINING, compute(processes=2)) > 0
assert set(rows) == {2.0 * processes.rank()}
seconds = 1.0 if processes.rank() else 0.5
for _ in range(2):  # the second time from the file
    (folder / f"steps-{processes.rank()}").write_text(str(steps("seconds", 60, folder / "budget.json", seconds)))
"""


def test_ranks_agree_on_the_seconds_of_the_slowest_each_with_its_rows(tmp_path: Path) -> None:
    in_two_ranks(RANKS, tmp_path, tmp_path)
    assert [(tmp_path / f"steps-{rank}").read_text() for rank in (0, 1)] == ["60", "60"]
