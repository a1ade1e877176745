"""A checkpoint is whole or it is not read; saving never harms the one before."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jokbo.models import causal
from jokbo.runtime.errors import InputError
from jokbo.runtime.interruption import Interrupted
from jokbo.training import checkpoints, engine, processes
from tests.support.networks import compute, network, optimizer
from tests.training import test_engine
from tests.training.ranks import in_two_ranks

ROOT = Path(__file__).parents[2]


def start(seed: int = 0):
    processes.join()
    model = causal.NextToken(network(seed=seed))
    return engine.start(model, engine.StepSettings(4, "fp32", 0.0), optimizer(), compute())


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
from jokbo.runtime.errors import InputError
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


def _sealed(source: Path) -> None:
    """Have the manifest say what the files are now, as whoever tampers with them may."""
    files = [path for path in source.rglob("*") if path.is_file() and path.name != checkpoints.MANIFEST]
    manifest = {str(path.relative_to(source)): checkpoints._digest(path) for path in files}
    (source / checkpoints.MANIFEST).write_text(json.dumps(manifest))


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("tampered", ["random-0.pt", "model", "state.json", checkpoints.MANIFEST])
def test_a_checkpoint_that_was_tampered_with_runs_no_code_and_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tampered: str
) -> None:
    monkeypatch.chdir(tmp_path)
    started = start()
    source = checkpoints.save(tmp_path / "saved", 1, {"model": started}, {})
    if tampered == checkpoints.MANIFEST:
        (source / tampered).write_text('["state.json"]')
    elif tampered == "state.json":
        (source / tampered).write_text("{}")
        _sealed(source)
    else:
        path = source / tampered
        torch.save({"torch": Evil(), "module": Evil()}, next(path.iterdir()) if path.is_dir() else path)
        _sealed(source)
    with pytest.raises(InputError, match=r"^[^\n]*saved[^\n]* to train anew$"):
        checkpoints.restore(tmp_path / "saved", {"model": started})
    assert not Path("evil").exists()


# ranks and ZeRO stage of who wrote it, and of who goes on
GO_ON = [((2, 0), (1, 0)), ((1, 0), (2, 0)), ((1, 2), (1, 1)), ((2, 2), (2, 1))]
ARE_TOLD = [
    ((2, 2), (1, 2)),
    ((1, 2), (2, 2)),
    ((2, 2), (1, 0)),
    ((1, 0), (1, 2)),
    ((1, 2), (1, 0)),
    ((1, 0), (1, 3)),
    ((1, 3), (1, 0)),
    ((1, 2), (1, 3)),
]


def stopped(folder: Path, zero_stage: int) -> None:
    """Leaves a checkpoint after 4 steps of 8."""

    def terminated(step: int) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        test_engine.train(folder, zero_stage=zero_stage, after_step=terminated)


def gone_on(folder: Path, zero_stage: int) -> list[float] | str:
    """The losses, or what is said instead."""
    try:
        history, _ = test_engine.train(folder, zero_stage=zero_stage)
    except InputError as error:
        return str(error)
    return [row["loss"] for row in history]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple, tuple[Path, list[float] | str]]:
    """By who wrote it and who goes on: the folder of checkpoints, and what came of it."""
    top, both = tmp_path_factory.mktemp("changed"), GO_ON + ARE_TOLD
    for before in {before for before, _ in both if before[0] == 1}:
        stopped(top / f"{before}", before[1])
    in_two_ranks(STOPPED, top, top, json.dumps([before for before in {b for b, _ in both} if before[0] == 2]))
    found, later = {}, []
    for before, after in both:
        folder = top / f"{before} {after}"
        shutil.copytree(top / f"{before}", folder)
        if after[0] == 1:
            found[before, after] = folder, gone_on(folder, after[1])
        else:
            later.append([str(folder), after[1]])
    in_two_ranks(GONE_ON, top, json.dumps(later))
    for before, after in both:
        folder = top / f"{before} {after}"
        if after[0] == 2:
            found[before, after] = folder, json.loads((folder / "came.json").read_text())
    return found


STOPPED = """
import json, sys
from pathlib import Path
from tests.training.test_checkpoints import stopped
for ranks, zero_stage in json.loads(sys.argv[2]):
    stopped(Path(sys.argv[1]) / f"{(ranks, zero_stage)}", zero_stage)
"""
GONE_ON = """
import json, sys
from pathlib import Path
from tests.training.test_checkpoints import gone_on, processes
for folder, zero_stage in json.loads(sys.argv[1]):
    came = gone_on(Path(folder), zero_stage)
    if processes.rank() == 0:
        (Path(folder) / "came.json").write_text(json.dumps(came))
"""


@pytest.mark.parametrize(("before", "after"), GO_ON)
def test_other_ranks_or_another_zero_stage_go_on_where_it_is_exact(
    changed: dict, before: tuple[int, int], after: tuple[int, int]
) -> None:
    assert changed[before, after][1] == pytest.approx(gone_on(None, 0), rel=1e-3)


@pytest.mark.parametrize(("before", "after"), ARE_TOLD)
def test_other_ranks_or_another_zero_stage_are_told_what_to_set_back(
    changed: dict, before: tuple[int, int], after: tuple[int, int]
) -> None:
    folder, said = changed[before, after]
    assert said == (
        f"{folder}/step-00000004 was written with compute.processes: {before[0]} and compute.zero_stage: {before[1]}, "
        f"and cannot be gone on with by {after[0]} and {after[1]}: set them back in params.yaml, or delete {folder} to "
        "train anew"
    )
    assert (folder / "step-00000004" / checkpoints.MANIFEST).exists()


@pytest.mark.parametrize("zero_stage", [0, 2, 3])
def test_who_wrote_a_checkpoint_that_does_not_say_so_is_told_by_its_files(
    changed: dict, zero_stage: int, capfd: pytest.CaptureFixture
) -> None:
    """And what is dropped of it."""
    before, after = {0: ((2, 0), (1, 0)), 2: ((2, 2), (1, 2)), 3: ((1, 3), (1, 0))}[zero_stage]
    folder = changed[before, after][0]
    for step in folder.glob("step-*"):
        if step.name != "step-00000004":
            shutil.rmtree(step)
    state = folder / "step-00000004/state.json"
    kept = json.loads(state.read_text())
    assert kept.pop("written_by")["processes"] == before[0]
    state.write_text(json.dumps(kept))
    manifest = state.with_name(checkpoints.MANIFEST)
    digest = {"bytes": state.stat().st_size, "sha256": hashlib.sha256(state.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), state.name: digest}))
    said = gone_on(folder, after[1])
    if zero_stage == 0:
        assert said == pytest.approx(changed[before, after][1], rel=1e-6)
        heard = capfd.readouterr().err
        assert (
            "was written by 2 ranks, this is 1: the random state of 1 is gone on with, and of 1 is dr"
            in heard
        )
    else:
        assert f"compute.processes: {before[0]} and compute.zero_stage: {zero_stage}, and cannot" in said


def test_what_deepspeed_cannot_read_is_one_line(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, 1, {"model": start()}, {})
    other = network(layers=1)
    processes.join()
    smaller = engine.start(
        causal.NextToken(other), engine.StepSettings(4, "fp32", 0.0), optimizer(), compute()
    )
    with pytest.raises(
        InputError, match=r"step-00000001: cannot be gone on with .*torch \S+, deepspeed"
    ) as told:
        checkpoints.restore(tmp_path, {"model": smaller})
    assert "\n" not in str(told.value)
