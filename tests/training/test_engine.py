"""The loop trains what a bare loop would, whatever the ranks, and goes on exactly where it was stopped."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from jokbo.models import causal
from jokbo.runtime.errors import InputError
from jokbo.runtime.interruption import Interrupted
from jokbo.runtime.tracking import Run
from jokbo.training import engine
from jokbo.training.job import Job
from tests.support.networks import compute, network, optimizer, tokens, training
from tests.training.ranks import in_two_ranks

STEPS = 8


def batch_at(step: int) -> engine.Batch:
    tokens_BS = tokens(8, seed=step)
    return {"tokens_BS": tokens_BS, "weights_BT": torch.ones(8, tokens_BS.shape[1] - 1)}


def train(
    folder: Path | None,
    *,
    batches=batch_at,
    settings=None,
    own=None,
    after_step=None,
    model=None,
    **changes: object,
) -> tuple[list[dict], list[torch.Tensor]]:
    """Losses by step and final weights; `own` as engine.Own."""
    model = model or network(seed=3)
    history = engine.train(
        causal.NextToken(model),
        batches,
        settings or training(STEPS),
        Job("test", 1, compute(**changes), Run(), folder),
        engine.Overrides(**(own or {})),
        after_step,
    )
    return history, list(model.state_dict().values())


@pytest.mark.skipif(not engine.can_compile(), reason="no C++ compiler")
def test_compiled_twice_it_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of tokens of a small vocabulary: the gradient of each embedding is a sum over many positions."""
    monkeypatch.setattr(engine, "COMPILE_FROM_STEPS", 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # one alone adds up in one order anyway

    def many(step: int) -> engine.Batch:
        tokens_BS = tokens(512, seed=step)
        return {"tokens_BS": tokens_BS, "weights_BT": torch.ones(512, tokens_BS.shape[1] - 1)}

    settings = training(STEPS, batch_size=512)
    runs = [train(tmp_path / str(i), batches=many, settings=settings, compile=True)[1] for i in range(3)]
    torch.set_num_threads(threads)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


def bare(history: list[dict], weights: list[torch.Tensor], batches=batch_at) -> None:
    """AdamW on the same batches, warm-up over 2 steps, decay to zero over the last half of the 6 others, comes to the
    same losses and weights."""
    model = network(seed=3)
    objective = causal.NextToken(model)
    adamw = torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    for step, share in enumerate([0, 1 / 2, 1, 1, 1, 1, 2 / 3, 1 / 3]):
        adamw.param_groups[0]["lr"] = 0.01 * share
        loss, _ = objective(**batches(step))
        assert loss.item() == pytest.approx(history[step]["loss"], rel=1e-4)
        adamw.zero_grad()
        loss.backward()
        adamw.step()
    for mine, theirs in zip(weights, model.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_it_is_the_bare_loop(tmp_path: Path) -> None:
    bare(*train(tmp_path))


def growing(step: int) -> engine.Batch:
    """An odd number of micro-batches of 2 rows before an even one, and the other way round."""
    rows = [2, 2, 2, 4, 6, 8, 6, 4][step]
    return {name: value[:rows] for name, value in batch_at(step).items()}


@pytest.mark.parametrize("zero_stage", [0, 2])
@pytest.mark.parametrize("micro_batch", [0, 2])
def test_a_batch_that_grows_is_trained_on_with_all_its_rows(
    tmp_path: Path, micro_batch: int, zero_stage: int
) -> None:
    found = train(tmp_path, batches=growing, micro_batch=micro_batch, zero_stage=zero_stage)
    bare(*found, batches=growing)


def test_rows_that_no_micro_batches_hold_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^a batch of 2 rows .* multiple of 4"):
        train(tmp_path, batches=growing, settings=training(STEPS), micro_batch=4)


def test_the_optimizer_and_the_schedule_given_are_those_used(tmp_path: Path) -> None:
    """Steepest descent; the rate that stands in a step's row is the one of that step."""
    shares = [1.0, 3.0, 2.0, 0.5, 0.0, 1.0, 2.0, 3.0]
    model, plain = network(seed=3), network(seed=3)
    own = {
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
        "schedule": lambda optimizer: LambdaLR(optimizer, lambda step: [*shares, 0.0][step]),
    }
    history, weights = train(tmp_path, model=model, own=own)
    descent = torch.optim.SGD(plain.parameters(), lr=0.01)
    for step, share in enumerate(shares):
        assert history[step]["learning_rate"] == pytest.approx(0.01 * share)
        descent.param_groups[0]["lr"] = 0.01 * share
        descent.zero_grad()
        causal.NextToken(plain)(**batch_at(step))[0].backward()
        descent.step()
    for mine, theirs in zip(weights, plain.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_micro_batches_add_up_to_the_batch(tmp_path: Path) -> None:
    whole, parts = (train(tmp_path / str(micro), micro_batch=micro)[0] for micro in (0, 2))
    for one, other in zip(whole, parts, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def stop_in(step: int, folder: Path, **options: Any) -> None:
    """Begin a training with the options of `train`, and stop it by SIGTERM in this step, where it saves itself."""

    def terminate(done: int) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"saved at step {step}"):
        train(folder, after_step=terminate, **options)


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("zero_stage", [0, 2])
def test_stopped_by_sigterm_it_saves_and_goes_on_bit_for_bit(
    tmp_path: Path, zero_stage: int, name: str
) -> None:
    settings = training(STEPS, optimizer=optimizer(name), precision="bf16")
    undisturbed = train(tmp_path / "undisturbed", settings=settings, zero_stage=zero_stage)

    stop_in(4, tmp_path / "stopped", settings=settings, zero_stage=zero_stage)
    asked: list[int] = []

    def read_if_there(step: int) -> engine.Batch:
        asked.append(step)
        return batch_at(step)

    history, weights = train(
        tmp_path / "stopped", batches=read_if_there, settings=settings, zero_stage=zero_stage
    )
    assert asked == [4, 5, 6, 7]
    assert history == undisturbed[0]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(weights, undisturbed[1], strict=True))


def test_a_stop_in_the_last_step_is_a_stop(tmp_path: Path) -> None:
    """Of a stage that trains several networks, one after another, the next one must not begin."""

    def terminated_in_the_last(step: int) -> None:
        if step == STEPS:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"saved at step {STEPS}"):
        train(tmp_path / "stopped", after_step=terminated_in_the_last)
    undisturbed, resumed = train(tmp_path / "undisturbed"), train(tmp_path / "stopped")
    assert resumed[0] == undisturbed[0]
    assert all(torch.equal(*pair) for pair in zip(resumed[1], undisturbed[1], strict=True))


def test_after_each_step_it_says_so_and_on_a_resume_from_where_it_goes_on(tmp_path: Path) -> None:
    """The weights are then those after the step."""
    model, seen = network(seed=3), []

    def total() -> float:
        return sum(float(weight.sum()) for weight in model.state_dict().values())

    sums = [total()]

    def stopped_in_the_third(step: int) -> None:
        seen.append(step)
        sums.append(total())
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="saved at step 3"):
        train(tmp_path, model=model, after_step=stopped_in_the_third)
    assert seen == [1, 2, 3]
    assert sums[0] == sums[1]  # the first rate is zero
    assert len(set(sums)) == 3
    seen.clear()
    train(tmp_path, after_step=seen.append)
    assert seen == [4, 5, 6, 7, 8]


def test_without_a_folder_nothing_is_written_and_a_stop_loses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = train(tmp_path / "kept")
    mine = train(None, checkpoint_seconds=0.0)
    assert mine[0] == kept[0]
    assert all(torch.equal(*pair) for pair in zip(mine[1], kept[1], strict=True))

    def terminated(step: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"^nothing to save"):
        train(None, after_step=terminated)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("beside", [True, False])
def test_batches_are_made_ahead_of_their_steps(monkeypatch: pytest.MonkeyPatch, beside: bool) -> None:
    """In lots of two: of the seven steps never more than four ahead."""
    monkeypatch.setattr(engine, "LOT_BYTES", 2 * sum(value.nbytes for value in batch_at(0).values()))
    made, first, last = [threading.Event() for _ in range(12)], 3, 10

    def told(step: int) -> engine.Batch:
        made[step].set()
        return batch_at(step)

    with closing(engine.ahead(told, range(first, last), beside=beside)) as batches:
        for step, batch in enumerate(batches, start=first):
            assert all(torch.equal(batch[name], value) for name, value in batch_at(step).items())
            assert made[min(step + 1, last - 1)].wait()  # though nobody has asked for it
            assert not any(event.is_set() for event in made[step + 1 + 4 :])
    assert [event.is_set() for event in made] == [first <= step < last for step in range(12)]


def test_nothing_is_made_in_the_steps_of_a_training_that_it_would_hold_up() -> None:
    made: list[int] = []

    def slow(step: int) -> engine.Batch:
        time.sleep(0.05)
        made.append(step)
        return batch_at(step)

    with closing(engine.ahead(slow, range(5), beside=False)) as batches:
        for _ in batches:
            there = len(made)
            time.sleep(0.15)
            assert len(made) == there


def test_batches_that_nobody_waits_for_are_not_made() -> None:
    """As where a training is stopped."""
    made, going_on = [], threading.Event()

    def slow(step: int) -> engine.Batch:
        made.append(step)
        assert step == 0 or going_on.wait()
        return batch_at(step)

    batches = engine.ahead(slow, range(1000), beside=True)
    next(batches)  # does not wait for those after it
    threading.Timer(0.1, going_on.set).start()
    batches.close()
    assert len(made) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_what_goes_wrong_with_a_batch_is_told_at_its_step(tmp_path: Path) -> None:
    """What was trained before is kept."""
    trained: list[int] = []

    def too_few(step: int) -> engine.Batch:
        if step == 3:
            raise InputError("too few rows")
        return batch_at(step)

    with pytest.raises(InputError, match=r"^too few rows$"):
        train(tmp_path, batches=too_few, after_step=trained.append, checkpoint_seconds=0.0)
    assert trained == [1, 2, 3]
    train(tmp_path, after_step=trained.append)
    assert trained == list(range(1, STEPS + 1))


def bare_norms(batches=batch_at) -> list[float]:
    """Of the whole batch's gradient at each step of `bare`."""
    model, found = network(seed=3), []
    adamw = torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    for step, share in enumerate([0, 1 / 2, 1, 1, 1, 1, 2 / 3, 1 / 3]):
        adamw.param_groups[0]["lr"] = 0.01 * share
        adamw.zero_grad()
        causal.NextToken(model)(**batches(step))[0].backward()
        found.append(sum(float(each.grad.square().sum()) for each in model.parameters()) ** 0.5)
        adamw.step()
    return found


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
@pytest.mark.parametrize("micro_batch", [0, 2])
def test_the_norm_of_the_gradient_is_the_true_one(zero_stage: int, micro_batch: int) -> None:
    """Over micro-batches; clipping changes nothing of the first, before which nothing has been clipped."""
    history, _ = train(None, zero_stage=zero_stage, micro_batch=micro_batch)
    assert [row["gradient_norm"] for row in history] == pytest.approx(bare_norms(), rel=1e-3)
    clipped, _ = train(None, settings=training(STEPS, gradient_clip=1e-3), zero_stage=zero_stage)
    assert clipped[0]["gradient_norm"] == pytest.approx(history[0]["gradient_norm"], rel=1e-5)


def test_under_zero_with_muon_there_is_no_norm_rather_than_another_things() -> None:
    muon = training(STEPS, optimizer=optimizer("muon"))
    assert train(None, settings=muon)[0][0]["gradient_norm"] == pytest.approx(bare_norms()[0], rel=1e-4)
    assert "gradient_norm" not in train(None, settings=muon, zero_stage=2)[0][0]


class Broken(torch.nn.Module):
    """From its step on the loss or the gradient or what the step makes of the weights is not finite."""

    def __init__(self, model: torch.nn.Module, kind: str, step: int) -> None:
        super().__init__()
        self.objective, self.kind, self.step, self.done = causal.NextToken(model), kind, step, 0

    def forward(self, **batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, metrics = self.objective(**batch)
        self.done += 1
        if self.done < self.step:
            return loss, metrics
        if self.kind == "loss":
            return loss * float("nan"), metrics
        weight = next(self.objective.parameters())
        return loss + (torch.sqrt(weight - weight.detach())).sum() * 0, metrics


@pytest.mark.parametrize("zero_stage", [0, 2, 3])
@pytest.mark.parametrize(("kind", "name"), [("loss", "adamw"), ("gradient_norm", "adamw"), ("loss", "muon")])
def test_it_stops_at_the_first_step_that_is_not_finite(
    tmp_path: Path, kind: str, name: str, zero_stage: int
) -> None:
    logged: list[int] = []
    run = SimpleNamespace(log=lambda values, step: logged.append(step), flush=lambda: None, trails={})
    with pytest.raises(InputError, match=rf"^test: {kind} is (nan|inf) at step 4: lower the learning rate"):
        engine.train(
            Broken(network(seed=3), kind, 4),
            batch_at,
            training(STEPS, optimizer=optimizer(name)),
            Job("test", 1, compute(zero_stage=zero_stage, checkpoint_seconds=0.0), run, tmp_path),
        )
    assert logged == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("zero_stage", [0, 2, 3])
def test_weights_that_the_last_step_spoils_are_not_saved(tmp_path: Path, zero_stage: int) -> None:
    settings = training(1, optimizer=optimizer(rate=float("inf")), warmup_steps=0)
    with pytest.raises(
        InputError, match=r"^test: the weights are not finite after step 1: lower the learning"
    ):
        train(tmp_path, settings=settings, zero_stage=zero_stage)
    assert list(tmp_path.iterdir()) == []


TOGETHER = [(0, "muon"), (1, "adamw"), (2, "muon"), (3, "muon")]  # ZeRO stage and optimizer
RANKS = """
import json, sys
from pathlib import Path
from jokbo.training import processes
from tests.training.test_engine import STEPS, TOGETHER, optimizer, train, training
for zero_stage, name in TOGETHER:
    folder = Path(sys.argv[1]) / f"{zero_stage}-{name}"
    history, weights = train(folder, settings=training(STEPS, optimizer=optimizer(name)), zero_stage=zero_stage)
    if processes.rank() == 0:
        curves = [[row[key] for row in history] for key in ("loss", "gradient_norm") if key in history[0]]
        result = [curves, [weight.sum().item() for weight in weights]]
        folder.with_suffix(".json").write_text(json.dumps(result))
"""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks came to in each training: they are started once, which takes longer than the trainings."""
    folder = tmp_path_factory.mktemp("ranks")
    in_two_ranks(RANKS, folder, folder)
    return folder


@pytest.mark.parametrize(("zero_stage", "name"), TOGETHER)
def test_two_ranks_train_to_the_same_loss(tmp_path: Path, together: Path, zero_stage: int, name: str) -> None:
    alone = train(tmp_path, settings=training(STEPS, optimizer=optimizer(name)))
    curves, sums = json.loads((together / f"{zero_stage}-{name}.json").read_text())
    assert len(curves) == (2 if name == "adamw" or zero_stage == 0 else 1)
    for key, curve in zip(("loss", "gradient_norm"), curves, strict=False):
        assert curve == pytest.approx([row[key] for row in alone[0]], rel=1e-3)
    assert sums == pytest.approx([weight.sum().item() for weight in alone[1]], rel=1e-2, abs=0.05)
