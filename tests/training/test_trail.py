"""The trail of a training: the same for the same training, another from the step on at which something differs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from jokbo.training.trail import EVERY, MARKS, Trail, folded, of_weights

BATCH = {"tokens": torch.arange(12).view(3, 4), "weights": torch.ones(3, 4)}


def engines(network: nn.Module) -> dict[str, Any]:
    return {"model": SimpleNamespace(module=network)}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 2, dtype=torch.bfloat16))


def trail(steps: int, odd: int | None = None) -> list[list[Any]]:
    """The marks of so many steps, one of whose batches is another."""
    made = Trail({})
    for step in range(1, steps + 1):
        made.batch(BATCH if step != odd else {**BATCH, "tokens": BATCH["tokens"] + 1})
        made.loss({"loss": 1 / step})
        made.done(step, steps, engines(network()))
    return made.marks


def test_a_training_of_any_length_has_some_kilobytes_of_marks() -> None:
    assert [mark[0] for mark in trail(9)] == [1, 2, 4, 8, 9]
    marks = trail(1500)
    assert [mark[0] for mark in marks][:3] == [1, 2, 1500 // MARKS]
    assert MARKS <= len(marks) <= MARKS + EVERY
    assert len(str(marks)) < 6000


def test_a_batch_that_differs_once_shows_in_every_mark_after_it() -> None:
    plain, other = trail(16), trail(16, odd=6)
    assert [one[1] == two[1] for one, two in zip(plain, other, strict=True)] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert [mark[2:] for mark in plain] == [mark[2:] for mark in other]


def test_names_shapes_and_types_of_a_batch_count() -> None:
    def of(parts: dict[str, Any]) -> str:
        made = Trail({})
        made.batch(parts)
        made.done(1, 1, {})
        return made.marks[0][1]

    whole = torch.zeros(2, 3)
    same_bytes = [{"a": whole}, {"b": whole}, {"a": whole.view(3, 2)}, {"a": whole.view(torch.int32)}]
    assert len({of(parts) for parts in same_bytes}) == 4
    strided = torch.arange(12.0).view(3, 4)[:, :1]
    assert of({"a": strided}) == of({"a": strided.clone()})
    assert of({"a": strided[:1]}) == of({"a": torch.zeros(1, 1)})
    assert of({"a": torch.zeros(0), "b": torch.ones(2, dtype=torch.bool), "c": 1, "d": torch.tensor(1.0)})


def test_one_bit_of_a_weight_that_learns_changes_the_hash() -> None:
    plain = network()
    before = of_weights(engines(plain))
    assert len(before) == 16
    with torch.no_grad():
        plain[1].bias.view(torch.int16)[1] ^= 1
    assert of_weights(engines(plain)) != before
    with torch.no_grad():
        plain[1].bias.view(torch.int16)[1] ^= 1
    assert of_weights(engines(plain)) == before
    plain[1].bias.requires_grad = False
    assert of_weights(engines(plain)) != before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_what_an_accelerator_computes_changes_with_one_bit_and_with_the_order(dtype: torch.dtype) -> None:
    tensor = torch.arange(200, dtype=dtype)
    swapped, flipped = tensor.clone(), tensor.clone()
    swapped[[3, 4]] = swapped[[4, 3]]
    flipped.view(torch.uint8)[-1] ^= 128
    assert len({folded(each).item() for each in (tensor, swapped, flipped)}) == 3
