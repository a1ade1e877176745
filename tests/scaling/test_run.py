"""One run of a sweep is trained for real: its row, its FLOPs, and the same row after a stop."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jokbo import params
from jokbo.comparison.budget import flops_of
from jokbo.models import causal
from jokbo.runtime.errors import InputError
from jokbo.runtime.interruption import Interrupted
from jokbo.runtime.tracking import Run
from jokbo.scaling import run as runs
from jokbo.scaling.run import Planned, Text, trained

PLANNED = Planned("small_run", "small", 40, 0.01)


class Stopping(Run):
    """What tells this process to stop once so many steps are logged."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def log(self, metrics: dict[str, float], step: int | None = None) -> None:
        if step == self.after:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_leaves_a_row(small: params.ScalingParams, text: Text, tmp_path: Path) -> None:
    row = trained(PLANNED, small, text, tmp_path, Run())
    assert json.loads((tmp_path / runs.ROW).read_text()) == row
    assert row["tokens"] == 40 * 8 * 16
    assert row["flops"] == 6 * row["parameters"] * row["tokens"]
    assert [mark["tokens"] for mark in row["marks"]] == [tokens * 8 * 16 for tokens in (5, 10, 20)]
    losses = [*(mark["loss"] for mark in row["marks"]), row["loss"]]
    assert losses == sorted(losses, reverse=True)
    assert not (tmp_path / runs.CHECKPOINTS).exists()
    again = trained(replace(PLANNED, steps=1), small, text, tmp_path, Run())  # found, not trained
    assert again == row


def test_stopped_and_run_again_it_comes_to_the_same_row(
    small: params.ScalingParams, text: Text, tmp_path: Path
) -> None:
    undisturbed = trained(PLANNED, small, text, tmp_path / "whole", Run())
    with pytest.raises(Interrupted, match="saved at step 15"):
        trained(PLANNED, small, text, tmp_path / "stopped", Stopping(after=15))
    assert not (tmp_path / "stopped" / runs.ROW).exists()
    seen = json.loads((tmp_path / "stopped" / runs.MARKS).read_text())
    assert [*seen] == ["5", "10"]
    assert trained(PLANNED, small, text, tmp_path / "stopped", Run()) == undisturbed


def test_a_run_that_diverges_leaves_no_row(small: params.ScalingParams, text: Text, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"wild: .* lower the learning rate"):
        trained(Planned("wild", "small", 20, 1e30), small, text, tmp_path, Run())
    assert not (tmp_path / runs.ROW).exists()


def test_what_is_measured_on_the_way_changes_no_weight(
    small: params.ScalingParams, text: Text, tmp_path: Path
) -> None:
    without = small.scaling.marks.model_copy(update={"count": 0, "noise_batches": 0})
    bare = small.model_copy(update={"scaling": small.scaling.model_copy(update={"marks": without})})
    found = [
        trained(PLANNED, settings, text, tmp_path / name, Run())
        for name, settings in (("marks", small), ("bare", bare))
    ]
    assert found[0]["loss"] == found[1]["loss"]
    assert found[1]["marks"] == []


@pytest.mark.parametrize("size", ["small", "large"])
def test_counted_flops_are_those_of_the_products(size: str, small: params.ScalingParams) -> None:
    """By hand: 2 a weight of each linear layer and the output matrix, attention's two products; three times that with
    backward. torch's counter says the same, and 6 N D nearly so."""
    own, vocabulary, batch = small.scaling, 64, 4
    network = runs.network_of(own, size, vocabulary, end=0)
    network.set_attn_implementation("eager")
    tokens_BS = torch.randint(0, vocabulary, (batch, own.context + 1))
    rows = causal.packed_rows(tokens_BS, "joined", end_of_text=0, padding=0)
    shape = own.sizes[size]
    linear = 12 * shape.layers * shape.hidden_size**2 + vocabulary * shape.hidden_size
    attention = 2 * shape.layers * own.context * shape.hidden_size
    counted = flops_of(causal.NextToken(network), rows)
    tokens = batch * own.context
    assert counted == 3 * 2 * tokens * (linear + attention)
    assert counted / (6 * network.num_parameters() * tokens) == pytest.approx(1, abs=0.35)
