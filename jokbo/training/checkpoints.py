"""Checkpoints that are whole or absent: written aside, checked by sha256, and put in place by one rename.

A checkpoint is a folder `step-00000100` that holds each engine's weights, optimizer and schedule (in DeepSpeed's
layout), the random state of every rank, what the loop keeps between steps, and a manifest with the size and
sha256 of every file. One without a manifest that matches is never read: the one before it is.

`compute` may change between a stop and the next start, and how DeepSpeed lays a checkpoint out changes with it. So a
checkpoint says how many ranks wrote it and under which ZeRO stage, and is gone on with where that is exact: by as many
ranks under a stage of the same layout; without ZeRO, where rank 0 holds everything, by any number.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import deepspeed
import numpy as np
import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address
from safetensors.torch import load_file, save_file
from torch import Tensor

from jokbo.runtime import launcher
from jokbo.runtime.errors import InputError, line_of
from jokbo.training import processes

KEEP = 2  # the newest, and the one before it should the newest turn out damaged
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
WHOLE, PARTS_OF_STATE, PARTS_OF_WEIGHTS = "whole", "parts of state", "parts of weights"
LAYOUTS = {
    0: WHOLE,
    1: PARTS_OF_STATE,
    2: PARTS_OF_STATE,
    3: PARTS_OF_WEIGHTS,
}  # of a checkpoint, by ZeRO stage
# what reading a checkpoint raises that was tampered with, its manifest included
TAMPERED = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError)
Restored = TypeVar("Restored")
SAFE = [LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]  # what ZeRO puts beside its tensors


class PlainCheckpointEngine(CheckpointEngine):
    """DeepSpeed's reading and writing of one file, without the code that a pickle could run."""

    def __init__(self) -> None:
        super().__init__({})

    def create(self, info: Any) -> None:
        pass

    def save(self, state_dict: Any, path: str) -> None:
        with open(path, "wb") as file:
            torch.save(state_dict, file)

    def load(self, path: str, map_location: Any = None) -> Any:
        with torch.serialization.safe_globals(SAFE):
            return torch.load(path, map_location=map_location, weights_only=True)

    def commit(self, info: Any) -> bool:
        return True


def save(
    folder: Path,
    step: int,
    engines: Mapping[str, deepspeed.DeepSpeedEngine],
    state: dict[str, Any],
    weights: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write the checkpoint of `step` (the number of steps done) and keep the newest KEEP.

    `state` is what the loop needs besides, as JSON, and `weights` are whole ones, the same on all ranks.

    Every rank calls this. Raises InputError if the disk takes no more: then what was written of the new checkpoint is
    gone, and those before it are as they were.
    """
    target, partial = folder / _name(step), folder / f".partial-{_name(step)}"
    if processes.rank() == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    processes.meet()
    fault: Exception | None = None
    try:
        for name, engine in engines.items():
            engine.save_checkpoint(
                str(partial), tag=name, save_latest=False, exclude_frozen_parameters=_frozen(engine)
            )
        with open(partial / f"random-{processes.rank()}.pt", "wb") as file:
            torch.save(_random_state(), file)
        if processes.rank() == 0:
            record = {"step": step, "written_by": _writer(engines), **state}
            (partial / "state.json").write_text(json.dumps(record))
            if weights:
                save_file({name: each.contiguous() for name, each in weights.items()}, partial / WEIGHTS)
    except (OSError, RuntimeError) as error:  # torch wraps a failed write of its zip in a RuntimeError
        fault = error
    if processes.any_rank(fault is not None):
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(
            f"{target}: cannot save ({fault or 'another rank failed'}): free some space on this disk and run again; "
            f"{_standing(folder)}"
        ) from fault
    processes.meet()
    if processes.rank() == 0:
        try:
            _seal(partial, target)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise InputError(
                f"{target}: cannot save ({error}): free some space on this disk and run again; {_standing(folder)}"
            ) from error
        for old in _steps(folder)[:-KEEP]:
            shutil.rmtree(folder / _name(old))
    processes.meet()
    return target


def _in_one_line(
    read: Callable[[Path, Mapping[str, deepspeed.DeepSpeedEngine]], Restored],
) -> Callable[[Path, Mapping[str, deepspeed.DeepSpeedEngine]], Restored]:
    """Return the function, with an InputError in the place of what reading raises that no `save` has written."""

    @wraps(read)
    def guarded(folder: Path, engines: Mapping[str, deepspeed.DeepSpeedEngine]) -> Restored:
        try:
            return read(folder, engines)
        except TAMPERED as error:
            raise InputError(
                f"{folder}: a checkpoint there is not as it was saved ({type(error).__name__}: {line_of(error)}): "
                f"delete {folder} to train anew"
            ) from error

    return guarded


@_in_one_line
def restore(folder: Path, engines: Mapping[str, deepspeed.DeepSpeedEngine]) -> tuple[int, dict[str, Any]]:
    """Put the newest whole checkpoint into the engines. Returns its step and state, (0, {}) where there is none.

    Raises InputError of one that these ranks and this ZeRO stage cannot go on with; says what of it is dropped.
    """
    # rank 0 reads it all to see that it is whole; on a shared disk that many ranks would take as many times as long
    found = int(processes.largest(_newest(folder) if processes.rank() == 0 else 0))
    if not found:
        return 0, {}
    source = folder / _name(found)
    state = json.loads((source / "state.json").read_text())
    written = state.pop("written_by", None) or _guessed_writer(source, engines)
    _check(source, written, _writer(engines))
    for name, engine in engines.items():
        try:
            engine.load_checkpoint(str(source), tag=name, load_module_strict=not _frozen(engine))
        except Exception as error:  # DeepSpeed has no kind of its own for what it cannot read
            if launcher.lost(error):
                raise
            fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError(
                f"{source}: cannot be gone on with ({fault}); it was written by {_shown(written)}, this is "
                f"{_shown(_writer(engines))}: delete {folder} to train anew"
            ) from error
    random_state = source / f"random-{processes.rank()}.pt"
    if random_state.exists():
        _set_random_state(torch.load(random_state, weights_only=True))
    return state.pop("step"), state


def _newest(folder: Path) -> int:
    """Return the step of the newest checkpoint that is whole, 0 where there is none; say of one that is not."""
    for step in reversed(_steps(folder)):
        if not (damage := _damage(folder / _name(step))):
            return step
        _say(f"{folder / _name(step)} is damaged ({damage}): using the one before it")
    return 0


def kept(folder: Path, step: int) -> dict[str, Tensor]:
    """Return the `weights` that the checkpoint of this step, which was restored, holds."""
    file = folder / _name(step) / WEIGHTS
    return load_file(file) if file.is_file() else {}


def _frozen(engine: deepspeed.DeepSpeedEngine) -> bool:
    """Return whether some weights do not learn: they are as the training began with, and no checkpoint holds them."""
    module: Any = engine.module
    return not all(parameter.requires_grad for parameter in module.parameters())


def _writer(engines: Mapping[str, deepspeed.DeepSpeedEngine]) -> dict[str, Any]:
    """Return what this process and its fellows would write on a checkpoint about themselves."""
    (zero_stage,) = {engine.zero_optimization_stage() for engine in engines.values()}
    return {
        "processes": processes.world(),
        "zero_stage": int(zero_stage),
        "torch": torch.__version__,
        "deepspeed": deepspeed.__version__,
    }


def _guessed_writer(source: Path, engines: Mapping[str, deepspeed.DeepSpeedEngine]) -> dict[str, Any]:
    """Return what a checkpoint that does not say it was written by, judged by its files."""
    stage, engine = 0, next(iter(engines))
    for path in sorted((source / engine).glob("*zero_pp_rank_0_*optim_states.pt")):
        stage = int(PlainCheckpointEngine().load(str(path))["optimizer_state_dict"]["zero_stage"])
    return {"processes": len(list(source.glob("random-*.pt"))), "zero_stage": stage}


def _check(source: Path, written: dict[str, Any], here: dict[str, Any]) -> None:
    ranks, ranks_here = written["processes"], here["processes"]
    layout, layout_here = (LAYOUTS[each["zero_stage"]] for each in (written, here))
    if layout != layout_here or (layout != WHOLE and ranks != ranks_here):
        raise InputError(
            f"{source} was written with compute.processes: {ranks} and compute.zero_stage: {written['zero_stage']}, "
            f"and cannot be gone on with by {ranks_here} and {here['zero_stage']}: set them back in params.yaml, or "
            f"delete {source.parent} to train anew"
        )
    if ranks != ranks_here:
        dropped = f", and of {ranks - ranks_here} is dropped" if ranks > ranks_here else ""
        fresh = f", and of {ranks_here - ranks} is fresh" if ranks < ranks_here else ""
        _say(
            f"{source} was written by {ranks} ranks, this is {ranks_here}: the random state of "
            f"{min(ranks, ranks_here)} is gone on with{dropped}{fresh}: dropout, if there is any, draws other numbers"
        )


def _shown(writer: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in writer.items())


def _say(text: str) -> None:
    if processes.rank() == 0:
        print(f"jokbo: {text}", file=sys.stderr, flush=True)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def _standing(folder: Path) -> str:
    steps = _steps(folder)
    return f"the checkpoint of step {steps[-1]} is intact" if steps else "there was none before it"


def _digest(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def _seal(partial: Path, target: Path) -> None:
    """Write the manifest, bring everything to the disk, and rename the folder, which makes it a checkpoint."""
    manifest = {str(path.relative_to(partial)): _digest(path) for path in _files(partial)}
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    for path in [*_files(partial), partial / MANIFEST, partial]:
        _sync(path)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return f"{MANIFEST} is missing or unreadable"
    for name, expected in manifest.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        found = _digest(path)
        if found["bytes"] != expected["bytes"]:
            return f"{name} has {found['bytes']} bytes of {expected['bytes']}"
        if found != expected:
            return f"{name} has changed since it was written"
    return None


def _random_state() -> dict[str, Any]:
    of_numpy = np.random.get_state()
    assert isinstance(of_numpy, tuple)
    kind, keys, position, has_gauss, gauss = of_numpy
    version, words, spare = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "python": [version, list(words), spare],
    }
    if processes.accelerator().device_name() != "cpu":
        state["accelerator"] = processes.accelerator().get_rng_state()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, spare = state["python"]
    random.setstate((version, tuple(words), spare))
    if "accelerator" in state:
        processes.accelerator().set_rng_state(state["accelerator"])
