"""A training ends with the weights that were best on validation, and a stop changes nothing of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import PreTrainedModel

from jokbo.models import causal
from jokbo.runtime.errors import InputError
from tests.support.networks import lora, network, optimizer, training
from tests.training.test_engine import STEPS, batch_at, stop_in, train


def held_out(number: int) -> dict[str, torch.Tensor]:
    return batch_at(100 + number)


def keeping(**changes: object) -> SimpleNamespace:
    """Rates so high that the loss on other texts rises."""
    keep = SimpleNamespace(kind="best", every=2, batches=2)
    return training(STEPS, **{"keep": keep, "optimizer": optimizer(rate=0.1), **changes})


def measured(model: PreTrainedModel) -> float:
    with torch.no_grad():
        return sum(causal.NextToken(model.eval())(**held_out(number))[0].item() for number in range(2)) / 2


@pytest.mark.parametrize("micro_batch", [0, 2])
@pytest.mark.parametrize("zero_stage", [0, 2, 3])
@pytest.mark.parametrize("method", [SimpleNamespace(kind="full"), lora()])
def test_it_ends_with_the_weights_of_the_lowest_loss(
    method: SimpleNamespace, zero_stage: int, micro_batch: int
) -> None:
    rate = 0.1 if method.kind == "full" else 1.0
    model, settings = network(seed=3), keeping(method=method, optimizer=optimizer(rate=rate))
    own = {"validation": lambda: held_out}
    history, _ = train(
        None, model=model, settings=settings, own=own, zero_stage=zero_stage, micro_batch=micro_batch
    )
    losses = {row["step"]: row["validation_loss"] for row in history if "validation_loss" in row}
    assert list(losses) == [2, 4, 6, 8]
    if method.kind == "full" or not micro_batch:  # else rounding may lead to a better last step
        assert min(losses, key=losses.__getitem__) != 8
    assert measured(model) == pytest.approx(min(losses.values()), rel=1e-4)


def test_what_it_learns_on_the_way_is_the_same_as_without() -> None:
    own = {"validation": lambda: held_out}
    kept, _ = train(None, settings=keeping(), own=own)
    last, _ = train(None, settings=keeping(keep=SimpleNamespace(kind="last")))
    assert [{key: row[key] for key in last[0]} for row in kept] == last


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_stopped_after_the_best_it_ends_with_the_same_weights(tmp_path: Path, zero_stage: int) -> None:
    own = {"validation": lambda: held_out}
    undisturbed = train(tmp_path / "undisturbed", settings=keeping(), own=own, zero_stage=zero_stage)
    stop_in(5, tmp_path / "stopped", settings=keeping(), own=own, zero_stage=zero_stage)
    history, weights = train(tmp_path / "stopped", settings=keeping(), own=own, zero_stage=zero_stage)
    assert history == undisturbed[0]
    assert all(torch.equal(*pair) for pair in zip(weights, undisturbed[1], strict=True))
    again = train(tmp_path / "stopped", settings=keeping(), own=own, zero_stage=zero_stage)  # nothing is left
    assert all(torch.equal(*pair) for pair in zip(again[1], undisturbed[1], strict=True))


def test_without_validation_data_it_is_refused() -> None:
    with pytest.raises(InputError, match=r"^test: keep.kind is best, but it has no validation data"):
        train(None, settings=keeping())
