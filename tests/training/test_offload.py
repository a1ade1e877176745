"""What lies in the machine's own memory trains to the same, and a training may go on with more or less of it there.

Here that memory is the only one, so this shows what DeepSpeed computes, and nothing of what is saved.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.networks import optimizer, training
from tests.training.test_engine import STEPS, stop_in, train

WAYS = [(1, "optimizer"), (2, "optimizer"), (3, "optimizer"), (3, "parameters")]


@pytest.mark.parametrize("micro_batch", [0, 2])
@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize(("zero_stage", "offload"), WAYS)
def test_a_training_comes_to_the_same(zero_stage: int, offload: str, name: str, micro_batch: int) -> None:
    own = {
        "settings": training(STEPS, optimizer=optimizer(name)),
        "zero_stage": zero_stage,
        "micro_batch": micro_batch,
    }
    plain, weights = train(None, **own)
    history, moved = train(None, **own, offload=offload)
    assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in plain], rel=1e-5)
    for one, other in zip(weights, moved, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("zero_stage", "offload"), WAYS)
def test_stopped_it_goes_on_to_the_same_weights_also_with_the_key_changed(
    tmp_path: Path, zero_stage: int, offload: str
) -> None:
    whole = train(tmp_path / "whole", zero_stage=zero_stage, offload=offload)
    for before, after in ((offload, offload), (offload, "none"), ("none", offload)):
        folder = tmp_path / f"{before}-{after}"
        stop_in(5, folder, zero_stage=zero_stage, offload=before)
        history, weights = train(folder, zero_stage=zero_stage, offload=after)
        assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in whole[0]], rel=1e-5)
        if before == after:
            assert all(torch.equal(*pair) for pair in zip(weights, whole[1], strict=True))
        for one, other in zip(weights, whole[1], strict=True):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
