"""The stage `align` by DPO on a table of its own: it ends with the weights that were best on pairs set aside."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from jokbo.alignment import dpo
from jokbo.alignment.held_out import parts_of
from jokbo.params import Dpo
from jokbo.preferences import pairs
from tasks.align import TRAINING, align
from tasks.frame.paths import ALIGNED, POLICY, PREFERENCES
from tasks.frame.stage import Stage
from tests.alignment.test_dpo import tokenizer
from tests.params.settings import settings
from tests.support.networks import network
from tests.tasks.test_reward import rows

STEPS, EVERY, BATCH = 12, 2, 4
KEEP = {"kind": "best", "every": EVERY, "batches": 1, "held_out": 0.3}
DRAW = random.Random(5)  # what is learned of some prompts says nothing of others
LEARNED = [each | {"choice": DRAW.randrange(2)} for each in rows(range(14, 54))]


class Killed(Exception):
    pass


def own() -> Dpo:
    """Rates so high that the loss on other pairs rises."""
    training = settings().reward.model_dump()["training"]
    training |= {"steps": STEPS, "batch_size": BATCH, "warmup_steps": 0, "precision": "fp32", "keep": KEEP}
    training["optimizer"] |= {"learning_rate": 0.05}
    return Dpo.model_validate({"kind": "dpo", "seed": 1, "beta": 0.5, "training": training})


def ran(folder: Path, patch: pytest.MonkeyPatch, killed_in: int = 0) -> dict[str, float]:
    """Run the stage in the folder; return what it left out."""
    left_out: dict[str, float] = {}

    def log(values: dict[str, float], step: int = 0) -> None:
        left_out.update(values)
        if step and step == killed_in:
            raise Killed

    folder.mkdir(exist_ok=True)
    patch.chdir(folder)
    if not POLICY.exists():
        network().save_pretrained(POLICY)
        tokenizer().save_pretrained(POLICY)
        pairs.save({"train": LEARNED, "test": rows(range(54, 58))}, PREFERENCES)
    compute = settings(compute__checkpoint_seconds=0.0).compute
    run: Any = SimpleNamespace(log=log, flush=lambda: None, trails={})
    align(Stage("align", own(), compute, "key", run, Path("checkpoints")))
    return left_out


def measured() -> float:
    """The loss of the aligned model on the batch of validation."""
    sides, kept, _ = dpo.encode(tokenizer(), LEARNED, 24)
    parts, settings = parts_of(kept, own().training.keep, 1, TRAINING), own()
    reference, policy = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (POLICY, ALIGNED)
    )
    reference_N2 = dpo.log_probs_of_all(reference, sides, "fp32")[parts.validation]
    labels = dpo.Labels(torch.ones(len(parts.validation)), torch.zeros(len(parts.validation)))
    batch = dpo.batches(sides.of(parts.validation), labels, reference_N2, BATCH, 1)(0)
    with torch.no_grad():
        return dpo.DpoLoss(policy, settings.beta)(**batch)[0].item()


def test_it_ends_with_the_weights_of_the_lowest_loss_also_when_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = ran(tmp_path / "whole", monkeypatch)
    aside = left_out["left_out/validation"]
    assert json.loads(Path("metrics/align.json").read_text())["pairs"] == len(LEARNED) - aside < len(LEARNED)
    with open("plots/align.csv") as file:
        losses = {int(row["step"]): row["validation_loss"] for row in csv.DictReader(file)}
    losses = {step: float(loss) for step, loss in losses.items() if loss}
    assert list(losses) == [*range(EVERY, STEPS + 1, EVERY)]
    best = min(losses, key=losses.__getitem__)
    assert best != STEPS
    assert measured() == pytest.approx(losses[best], rel=1e-4)
    whole = load_file(ALIGNED / "model.safetensors")
    with pytest.raises(Killed):
        ran(tmp_path / "killed", monkeypatch, killed_in=STEPS - 1)
    ran(tmp_path / "killed", monkeypatch)
    again = load_file(ALIGNED / "model.safetensors")
    assert whole.keys() == again.keys()
    assert all(torch.equal(weights, again[name]) for name, weights in whole.items())
