"""Layers that are computed again in backward give the same gradients, and hold less in between."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaMLP

from jokbo.models import causal
from jokbo.training import activations, memory, processes
from tests.support.networks import CONTEXT, compute, lora, network, tokens, training
from tests.training.test_engine import STEPS, batch_at, train
from tests.training.test_methods import four_bits
from tests.training.test_shares import OBJECTIVES

ON = compute(activation_checkpointing=True)


def gradients(objective: nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    objective.zero_grad()
    objective(**batch)[0].backward()
    return [each.grad.clone() for each in objective.parameters() if each.grad is not None]


def counted(objective: nn.Module) -> list[nn.Module]:
    """Return the list to which each pass through a layer is added from now on."""
    passes: list[nn.Module] = []
    for each in objective.modules():
        if isinstance(each, LlamaMLP):
            each.register_forward_pre_hook(lambda module, _: passes.append(module))
    return passes


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_the_same_and_each_layer_is_computed_twice(name: str) -> None:
    """Of DPO and PPO too, whose networks are in evaluation mode, as is whatever has no dropout."""
    objective, batch = OBJECTIVES[name]()
    objective.eval()
    plain, passes = gradients(objective, batch), counted(objective)
    with activations.recomputed([objective], ON):
        again = gradients(objective, batch)
    assert passes
    assert all(passes.count(layer) == 2 for layer in passes)
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-9)
    passes.clear()
    gradients(objective, batch)
    assert all(passes.count(layer) == 1 for layer in passes)


def test_dropout_draws_the_same_numbers_again() -> None:
    model = network("gpt2").train()
    for each in model.modules():
        if isinstance(each, nn.Dropout):
            each.p = 0.5
    objective, batch = (
        causal.NextToken(model),
        {"tokens_BS": tokens(4), "weights_BT": torch.ones(4, CONTEXT - 1)},
    )
    found = []
    for settings in (compute(), ON):
        torch.manual_seed(3)
        with activations.recomputed([objective], settings):
            found.append(gradients(objective, batch))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-9)


def test_what_has_no_gradients_is_computed_once() -> None:
    objective, batch = OBJECTIVES["dpo"]()
    passes = counted(objective)
    with activations.recomputed([objective], ON), torch.no_grad():
        objective(**batch)
    assert passes
    assert len(passes) == len(set(passes))


@pytest.mark.parametrize("zero_stage", [0, 2, 3])
@pytest.mark.parametrize("kind", ["full", "lora", four_bits])
def test_a_training_comes_to_the_same(kind: str, zero_stage: int) -> None:
    if kind == "qlora" and zero_stage == 3:
        pytest.skip("params refuses it")
    method = SimpleNamespace(kind="full") if kind == "full" else lora(kind=kind, dropout=0.1)
    own: dict[str, Any] = {
        "settings": training(STEPS, method=method),
        "zero_stage": zero_stage,
        "micro_batch": 2,
    }
    plain, weights = train(None, **own)
    history, again = train(None, **own, activation_checkpointing=True)
    for key in ("loss", "gradient_norm"):
        assert [row[key] for row in history] == pytest.approx([row[key] for row in plain], rel=1e-5)
    for one, other in zip(weights, again, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def test_after_a_training_the_layers_are_as_they_were() -> None:
    model = network(seed=3)
    train(None, model=model, activation_checkpointing=True)
    assert not any("forward" in vars(each) for each in model.modules())


def test_a_network_without_such_layers_is_trained_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with activations.recomputed([nn.Linear(2, 2)], ON, "elmo"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jokbo: elmo: compute.activation_checkpointing has no effect here: ")
    with (
        activations.recomputed([network()], ON, "pretrain"),
        activations.recomputed([nn.Linear(2, 2)], compute(), "x"),
    ):
        pass
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_estimate_holds_as_much_as_a_real_pass(name: str) -> None:
    objective, batch = OBJECTIVES[name]()
    beside = [*getattr(objective, "_teacher", ())]
    fake, *others = memory.faked([objective, *beside], [objective, *beside])
    with activations.recomputed([fake], ON):
        said = memory.Passes("fp32", [fake, *others]).peak(lambda: fake(**batch)[0])
    real = memory.Passes("fp32", [objective, *beside])
    with activations.recomputed([objective], ON):
        assert said == real.peak(lambda: objective(**batch)[0])


def test_it_takes_less() -> None:
    processes.join()
    deep = causal.NextToken(network(layers=6))
    plain, again = (memory.of_training(deep, batch_at(0), training(1), each) for each in (compute(), ON))
    assert again.activations < plain.activations / 2
    assert (again.weights, again.optimizer) == (plain.weights, plain.optimizer)
