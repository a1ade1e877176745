"""What a training is told to take: its weights and its optimizer's state to the byte, and what its passes hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jokbo.distillation.distil import Distil
from jokbo.models import causal
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run
from jokbo.training import engine, memory, processes
from jokbo.training.job import Job
from tests.support.networks import CONTEXT, VOCABULARY, compute, lora, network, optimizer, tokens, training
from tests.training.test_methods import four_bits
from tests.training.test_shares import OBJECTIVES

FULL, ROWS = SimpleNamespace(kind="full"), 8


def batch_at(step: int) -> dict[str, Tensor]:
    return {"tokens_BS": tokens(ROWS), "weights_BT": torch.ones(ROWS, CONTEXT - 1)}


def job(**changes: object) -> Job:
    return Job("training", 1, compute(**changes), Run(), None)


def needed(
    objective: nn.Module | None = None, *, batch: dict[str, Tensor] | None = None, **changes: Any
) -> Any:
    """What is said of a training; `changes` of its settings, and of how it is computed."""
    own = {key: changes.pop(key) for key in ("micro_batch", "zero_stage", "offload") if key in changes}
    settings = training(1, ROWS, **changes)
    processes.join()
    return memory.of_training(
        objective or causal.NextToken(network()), batch or batch_at(0), settings, compute(**own)
    )


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_weights_and_optimizer_are_what_an_engine_holds(name: str) -> None:
    objective = causal.NextToken(network("gpt2"))
    said = needed(objective, optimizer=optimizer(name))
    processes.join()
    started = engine.start(objective, engine.StepSettings(ROWS, "fp32", 0.0), optimizer(name), compute())
    engine.update(started, batch_at(0))
    client: Any = started.client_optimizer
    states = [value for state in client.state.values() for value in state.values() if torch.is_tensor(value)]
    assert said.optimizer == sum(value.nbytes for value in states if value.numel() > 1)
    assert said.weights == sum(value.nbytes for value in (*objective.parameters(), *objective.buffers()))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_pass_over_fake_tensors_holds_as_much_as_a_real_one(name: str) -> None:
    objective, batch = OBJECTIVES[name]()
    beside = [*getattr(objective, "_teacher", ())]
    fake, *others = memory.faked([objective, *beside], [objective, *beside])
    passes = memory.Passes("fp32", [fake, *others])
    said = passes.peak(lambda: fake(**batch)[0])
    real = memory.Passes("fp32", [objective, *beside])
    assert said == real.peak(lambda: objective(**batch)[0])


def test_the_objective_is_as_it_was() -> None:
    objective = causal.NextToken(network())
    before, state = (
        {name: value.clone() for name, value in objective.state_dict().items()},
        torch.get_rng_state(),
    )
    needed(objective, method=lora())
    assert objective.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())
    assert all(each.requires_grad and each.grad is None for each in objective.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_adapters_alone_have_gradients_and_a_state() -> None:
    full, adapters = needed(), needed(method=lora())
    model = network()
    learned = sum(4 * (sum(layer.weight.shape)) * 4 for layer in _linear(model))
    assert adapters.optimizer == 2 * learned < full.optimizer
    assert adapters.weights == full.weights + learned


@pytest.mark.parametrize("kind", [four_bits])
def test_weights_in_4_bits_take_less(kind: str) -> None:
    plain, packed = needed(method=lora()), needed(method=lora(kind=kind))
    assert packed.weights < plain.weights
    assert packed.optimizer == plain.optimizer


def _linear(model: nn.Module) -> list[nn.Linear]:
    return [each for name, each in model.named_modules() if isinstance(each, nn.Linear) and name != "lm_head"]


def test_micro_batches_hold_less_and_the_vocabulary_counts() -> None:
    whole, half = needed(), needed(micro_batch=ROWS // 2)
    learned = sum(each.nbytes for each in network().parameters())
    assert half.activations < whole.activations
    assert half.activations > whole.activations // 2  # gradients are there from the first micro-batch on
    assert whole.activations > 4 * ROWS * (CONTEXT - 1) * VOCABULARY
    assert half.activations >= learned


def test_a_teacher_and_the_best_weights_are_weights_too() -> None:
    objective, batch = OBJECTIVES["distill"]()
    assert isinstance(objective, Distil)
    (teacher,) = objective._teacher  # pyright: ignore[reportPrivateUsage]
    settings, own = training(1, ROWS), compute()
    processes.join()
    alone = memory.of_training(objective, batch, settings, own)
    with_it = memory.of_training(objective, batch, settings, own, [teacher])
    assert with_it.weights == alone.weights + sum(
        each.nbytes for each in (*teacher.parameters(), *teacher.buffers())
    )
    kept = SimpleNamespace(kind="best", every=1, batches=1)
    assert needed(keep=kept).weights == needed().weights + sum(each.nbytes for each in network().parameters())


def test_the_largest_batch_counts() -> None:
    def growing(step: int) -> dict[str, Tensor]:
        return {"tokens_BS": tokens(ROWS, 4 + 3 * (step % 4))}

    assert memory.largest(growing, 6)["tokens_BS"].shape == (ROWS, 13)
    assert memory.largest(growing, 2)["tokens_BS"].shape == (ROWS, 7)


def test_a_process_on_a_cpu_takes_more_than_its_tensors() -> None:
    need = memory.in_process(memory.Need(100, 100, 100))
    on_cpu = processes.accelerator().device_name() == "cpu"
    assert need == (memory.Need(100, 150, 150) if on_cpu else memory.Need(100, 100, 100))


def test_it_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    memory.check(causal.NextToken(network()), batch_at, training(1, ROWS), job())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "memory" in line]
    assert line.startswith("training: memory: about ")
    assert " GB: weights 0, optimizer 0, activations " in line


@pytest.mark.parametrize(
    ("need", "method", "advice"),
    [
        (memory.Need(1, 1, 10**16), FULL, "lower compute.micro_batch (now 4)"),
        (memory.Need(10**15, 10**15, 1), FULL, "set method.kind to lora"),
        (memory.Need(10**15, 1, 1), lora(), "set method.kind to qlora"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_to_lower(need: Any, method: Any, advice: str) -> None:
    processes.join()
    with pytest.raises(InputError) as told:
        memory.tell(job(micro_batch=4), need, [], method)
    (line,) = str(told.value).splitlines()
    assert line.startswith("training: it would take about ")
    assert advice in line


def test_zero_shares_the_optimizer_and_keeps_a_copy() -> None:
    alone, shared, parted = (needed(zero_stage=stage) for stage in (0, 2, 3))
    learned = sum(each.nbytes for each in network().parameters())
    assert shared.optimizer == alone.optimizer + learned
    assert parted.weights == alone.weights + learned


@pytest.mark.parametrize(
    ("zero_stage", "offload"), [(1, "optimizer"), (2, "optimizer"), (3, "optimizer"), (3, "parameters")]
)
def test_what_is_offloaded_is_what_an_engine_holds_beside_the_weights(zero_stage: int, offload: str) -> None:
    """After a step, when gradients and activations are gone: all of it is in one memory here."""
    said = needed(zero_stage=zero_stage, offload=offload)
    objective = causal.NextToken(network())
    weights = memory.held([objective])
    count = memory.Count([*objective.parameters(), *objective.buffers()])
    with count:
        settings = engine.StepSettings(ROWS, "fp32", 0.0)
        started = engine.start(
            objective, settings, optimizer(), compute(zero_stage=zero_stage, offload=offload)
        )
        for _ in range(2):
            engine.update(started, batch_at(0))
    # its empty bucket takes no memory on a CPU; below stage 3 its flat weights take the place of the network's
    held = count.now - (memory.BUCKET if zero_stage == 3 else 0) - (weights if zero_stage < 3 else 0)
    assert said.optimizer == 0
    assert said.offloaded + said.weights - weights == pytest.approx(held, rel=0.1)


def test_without_an_accelerator_a_line_says_that_nothing_is_saved(capsys: pytest.CaptureFixture[str]) -> None:
    if processes.accelerator().device_name() != "cpu":
        pytest.skip("there is an accelerator")
    own = job(zero_stage=2, offload="optimizer")
    memory.check(causal.NextToken(network()), batch_at, training(1, ROWS), own)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "memory" in line]
    assert "compute.offload saves nothing here: there is no accelerator" in line


def test_what_the_machine_cannot_hold_beside_the_accelerator_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes.join()
    there = SimpleNamespace(device_name=lambda: "cuda", current_device_name=lambda: "cpu")
    monkeypatch.setattr(processes, "accelerator", lambda: there)
    with pytest.raises(
        InputError, match=r"^training: compute.offload would take about 1,000,000.0 GB of the machine"
    ):
        memory.tell(job(offload="optimizer"), memory.Need(1, 0, 1, 10**15), [], FULL)
