"""A checkpoint is whole or it is not read; saving never harms the one before."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jokbo.systems import gpt
from jokbo.training import checkpoints, engine, processes
from tests.networks import compute, network, optimizer

ROOT = Path(__file__).parents[2]


def start(seed: int = 0):
    processes.join()
    model = gpt.NextToken(network(seed=seed))
    return engine.start(
        model, batch=4, precision="fp32", optimizer=optimizer(), gradient_clip=0.0, compute=compute()
    )


def weights(started) -> list[torch.Tensor]:
    return [value.clone() for value in started.module.state_dict().values()]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_what_is_saved_comes_back_random_numbers_included(tmp_path: Path) -> None:
    one, other = start(0), start(1)
    torch.manual_seed(5)
    checkpoints.save(tmp_path, 7, {"model": one}, {"beta": 0.25})
    drawn = torch.rand(3)
    assert checkpoints.restore(tmp_path, {"model": other}) == (7, {"beta": 0.25})
    assert torch.equal(torch.rand(3), drawn)
    assert same(weights(one), weights(other))


def test_nothing_saved_is_step_0(tmp_path: Path) -> None:
    assert checkpoints.restore(tmp_path / "none", {}) == (0, {})


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    started = start()
    for step in (1, 2, 10):
        checkpoints.save(tmp_path, step, {"model": started}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000010"]


@pytest.mark.parametrize("harm", ["truncated", "changed", "missing", "no manifest"])
def test_of_a_damaged_one_the_one_before_is_used_and_it_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture, harm: str
) -> None:
    started = start()
    for step in (1, 2):
        checkpoints.save(tmp_path, step, {"model": started}, {})
    newest = tmp_path / "step-00000002"
    file = next((newest / "model").iterdir())
    if harm == "truncated":
        os.truncate(file, file.stat().st_size // 2)
    elif harm == "changed":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif harm == "missing":
        file.unlink()
    else:
        (newest / checkpoints.MANIFEST).unlink()
    assert checkpoints.restore(tmp_path, {"model": started})[0] == 1
    said = capfd.readouterr().err
    assert "step-00000002 is damaged" in said
    assert "using the one before it" in said


FULL = """
import resource, signal, sys
from pathlib import Path
from jokbo.errors import InputError
from jokbo.training import checkpoints
from tests.training.test_checkpoints import start
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
started = start()
checkpoints.save(folder, 1, {"model": started}, {})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    checkpoints.save(folder, 2, {"model": started}, {})
except InputError as error:
    print("InputError:", error)
"""


@pytest.mark.parametrize("limit", [0, 20_000])
def test_a_disk_that_takes_no_more_leaves_the_old_one(tmp_path: Path, limit: int) -> None:
    """The kernel refuses to let any file grow beyond the limit, as it does on a full disk."""
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(limit)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "InputError:" in result.stdout, result.stderr[-2000:]
    assert "step-00000002: cannot save" in result.stdout
    assert "the checkpoint of step 1 is intact" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoints.restore(tmp_path, {"model": start()})[0] == 1


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"weights": subprocess.Popen}, path)
    with pytest.raises(pickle.UnpicklingError, match=r"weights_only|Unsupported"):
        checkpoints.PlainCheckpointEngine().load(str(path))
