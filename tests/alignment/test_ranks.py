"""PPO in two ranks: they share a rollout, learn the same from it, and go on exactly where they were killed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jokbo.alignment.networks import collect
from jokbo.alignment.rollouts import Experience
from jokbo.alignment.value import response_values
from jokbo.runtime.tracking import Run
from jokbo.sampling import response_log_probs
from jokbo.training import processes
from tests.alignment.test_ppo import PROMPT, align, networks, ppo_settings
from tests.support.networks import tokens
from tests.training.ranks import in_two_ranks

ROWS, ITERATIONS = 16, 4  # of a rollout, of a training
ZERO_STAGES = (0, 3)
RANKS = """
import sys
from pathlib import Path
from tests.alignment.test_ranks import work
for asked in sys.argv[2:]:
    work(Path(sys.argv[1]), *asked.split(","))
"""


def work(folder: Path, what: str, name: str, zero_stage: str = "0", killed_in: str = "0") -> None:
    """Do the work of a rank and save what came of it; or, killed in an iteration, save nothing."""
    processes.join()
    path = folder / f"{what}-{name}-{processes.rank()}.safetensors"
    if what == "collect":
        seen = collect(networks(4), tokens(ROWS, PROMPT), 1, ppo_settings())
        found = {key: value for key, value in vars(seen).items() if torch.is_tensor(value)}
        save_file(found | {"tokens_BS": seen.rollout.tokens_BS, "mask_BR": seen.rollout.mask_BR}, path)
        return

    def record(iteration: int, seen: Experience) -> None:
        if iteration == int(killed_in):
            os.kill(os.getpid(), signal.SIGKILL)

    history, weights = align(
        folder / name,
        Run(),
        record=record,
        own={"checkpoint_seconds": 0.0, "zero_stage": int(zero_stage)},
        micro_batch=2,
        iterations=ITERATIONS,
    )
    rows_I = {key: torch.tensor([row[key] for row in history], dtype=torch.float64) for key in history[0]}
    save_file({"weights": weights, **rows_I}, path)


def of(folder: Path, what: str, name: str) -> list[dict[str, Tensor]]:
    """What each rank saved."""
    return [load_file(folder / f"{what}-{name}-{rank}.safetensors") for rank in (0, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared rollout, and a training under each ZeRO stage that nobody disturbed."""
    made = tmp_path_factory.mktemp("ranks")
    in_two_ranks(RANKS, made, made, "collect,shared", *(f"align,whole-{zero},{zero}" for zero in ZERO_STAGES))
    return made


def test_a_rollout_is_shared_and_each_rank_has_all_of_it(folder: Path) -> None:
    """The first rank's half is what it would sample alone; the other's is another sample, read as one rank reads it."""
    first, second = of(folder, "collect", "shared")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(len(value) == ROWS for value in first.values())
    prompts_BP, tokens_BS = tokens(ROWS, PROMPT), first["tokens_BS"]
    assert torch.equal(tokens_BS[:, :PROMPT], prompts_BP)
    alone = collect(networks(), prompts_BP[: ROWS // 2], 1, ppo_settings())
    assert torch.equal(tokens_BS[: ROWS // 2], alone.rollout.tokens_BS)
    assert not torch.equal(tokens_BS[: ROWS // 2, PROMPT:], tokens_BS[ROWS // 2 :, PROMPT:])
    own, mask_BR = networks(), first["mask_BR"]
    with torch.no_grad():
        read_BR = response_log_probs(own.policy, tokens_BS, PROMPT, 1.0)
        values_BR = response_values(own.value, tokens_BS, PROMPT)
    torch.testing.assert_close(first["old_BR"][mask_BR], read_BR[mask_BR], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first["values_BR"][mask_BR], values_BR[mask_BR], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("zero_stage", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_killed_they_go_on_to_the_same_weights(folder: Path, zero_stage: int) -> None:
    """SIGKILL comes to both in the last iteration."""
    whole, other = of(folder, "align", f"whole-{zero_stage}")
    name = f"killed-{zero_stage}"
    with pytest.raises(subprocess.CalledProcessError):
        in_two_ranks(RANKS, folder, folder, f"align,{name},{zero_stage},{ITERATIONS}")
    assert [path.name for path in sorted((folder / name).glob("step-*"))][-1].endswith(f"{ITERATIONS - 1}")
    in_two_ranks(RANKS, folder, folder, f"align,{name},{zero_stage}")
    assert whole["weights"].numel() == sum(each.numel() for each in networks().policy.parameters())
    for found in (other, *of(folder, "align", name)):
        assert found.keys() == whole.keys()
        assert all(torch.equal(found[key], whole[key]) for key in whole)
