"""A reward model ends with the weights that were best on pairs that it did not learn, and a stop changes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from jokbo.alignment import elements, fitting, reward
from jokbo.params import Reward
from jokbo.runtime.errors import InputError
from jokbo.training.job import Job
from tests.alignment.test_dpo import row, tokenizer
from tests.params.settings import settings
from tests.support.networks import compute, network

ROWS = [
    row(f"w{prompt} ", f"w{20 + prompt % 7} w{first}", f"w{30 + prompt % 5} w{second}", choice=prompt % 2)
    for prompt in range(2, 60)
    for first, second in ((8, 9), (9, 10), (8, 10))
]
STEPS, EVERY = 12, 3
KEEP = {"kind": "best", "every": EVERY, "batches": 1, "held_out": 0.3}


class Killed(Exception):
    pass


def own(batch_of: str = "pairs", **keep: Any) -> Reward:
    """Rates so high that the loss on other pairs rises."""
    made = settings().reward.model_dump() | {"context": 8, "batch_of": batch_of}
    made["training"] |= {
        "steps": STEPS,
        "batch_size": 8,
        "warmup_steps": 0,
        "precision": "fp32",
        "keep": KEEP | keep,
    }
    made["training"]["optimizer"] |= {"learning_rate": 0.05}
    return Reward.model_validate(made)


def fitted(
    folder: Path | None, own: Reward, killed_in: int = 0
) -> tuple[PreTrainedModel, list[dict[str, float]]]:
    def log(values: dict[str, float], step: int) -> None:
        if step == killed_in:
            raise Killed

    model = reward.on_policy(network(), seed=0)
    run: Any = SimpleNamespace(log=log, flush=lambda: None, trails={})
    job = Job("reward", 1, compute(checkpoint_seconds=0.0), run, folder)
    return model, fitting.fit(model, fitting.read(tokenizer(), ROWS, own), own, job)


@torch.no_grad()
def measured(model: PreTrainedModel, own: Reward) -> float:
    """The loss on the batch of validation."""
    pairs = fitting.read(tokenizer(), ROWS, own)
    numbers, model = pairs.parts.validation, model.eval()
    sides = (pairs.sides[0][numbers], pairs.sides[1][numbers])
    labels, size = pairs.labels.of(numbers), own.training.batch_size
    if own.batch_of == "pairs":
        batch = reward.batches(sides, labels, model, size, 1)(0)
        return reward.Compare(model)(**batch)[0].item()
    found = elements.of_pairs([ROWS[number] for number in numbers], sides, labels, model)
    return elements.CompareAll(model)(**elements.batches(found, size, 1)(0))[0].item()


@pytest.mark.parametrize("batch_of", ["pairs", "prompts"])
def test_it_ends_with_the_weights_of_the_lowest_loss_also_when_it_was_killed(
    tmp_path: Path, batch_of: str
) -> None:
    settings = own(batch_of)
    model, history = fitted(tmp_path / "whole", settings)
    losses = {row["step"]: row["validation_loss"] for row in history if "validation_loss" in row}
    assert list(losses) == [*range(EVERY, STEPS + 1, EVERY)]
    best = min(losses, key=losses.__getitem__)
    assert best != STEPS
    assert measured(model, settings) == pytest.approx(losses[best], rel=1e-4)
    with pytest.raises(Killed):
        fitted(tmp_path / "killed", settings, killed_in=STEPS - 1)
    again, rows = fitted(tmp_path / "killed", settings)
    assert rows == history
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name]), name


def test_pairs_for_validation_are_not_learned() -> None:
    """The same pairs without them teach the same."""
    settings = own(every=STEPS)
    parts = fitting.read(tokenizer(), ROWS, settings).parts
    model, _ = fitted(None, settings)
    last = Reward.model_validate(
        {**settings.model_dump(), "training": {**settings.training.model_dump(), "keep": {"kind": "last"}}}
    )
    alone = reward.on_policy(network(), seed=0)
    learned = fitting.read(tokenizer(), [ROWS[number] for number in parts.train], last)
    run: Any = SimpleNamespace(log=lambda *_, **more: None, flush=lambda: None, trails={})
    fitting.fit(alone, learned, last, Job("reward", 1, compute(), run, None))
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, alone.state_dict()[name]), name


def test_too_few_for_a_batch_are_refused_before_it_learns() -> None:
    with pytest.raises(
        InputError, match=r"^reward\.training\.keep\.held_out leaves \d prompts for validation, too few"
    ):
        fitted(None, own("prompts", held_out=0.06))
