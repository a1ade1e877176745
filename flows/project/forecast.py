"""What the chain of params.yaml will take of memory and disk, as far as that can be told without computing anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from jokbo.params import Params, Ppo, checks, reading
from jokbo.runtime import room
from jokbo.team.upkeep.findings import Finding, ok, warning, wrong
from tasks.frame import lockfile, projects
from tasks.frame.paths import START

# bytes of a weight in fp32: alone; with its gradient and AdamW's two numbers
HELD, TRAINED = 4, 16
CHECKPOINTS = 3  # of a training at once: two are kept while a third is written
CHECKPOINT = 12  # bytes of a weight in a checkpoint: without its gradient


def memory(settings: Params, *, reckon: bool) -> Iterator[Finding]:
    """Yield what is left of memory, and what networks and optimizers will take of it; with `reckon` also what the
    largest training takes in all, for which each is gone through once without numbers.
    """
    left = room.left()
    if reckon:
        yield _reckoned(settings, left)
    parameters = base_parameters(settings)
    if parameters is None:
        yield ok(f"{decimal(left)} are left; the model to start from is not there yet: no forecast")
        return
    stage, takes = max(_networks(settings, parameters), key=lambda each: each[1])
    said = (
        f"{decimal(left)} are left; of all stages {stage} holds most: about {decimal(takes)} of weights, "
        f"gradients and optimizer, reckoned for {parameters / 1e6:,.1f}M parameters; activations come on top"
    )
    if takes > left:
        yield wrong(
            said, "take a smaller model, or adapters (method.kind: lora), or a machine with more memory"
        )
    elif takes > left / 2:
        yield warning(
            said,
            "a stage says what it takes in all before it trains; lower compute.micro_batch if it is too much",
        )
    else:
        yield ok(said)


def _reckoned(settings: Params, left: int) -> Finding:
    from jokbo.team import forecast  # with torch, which takes seconds to import

    found = forecast.needs(settings, projects.stages(), START if START.is_dir() else None)
    if not found:
        return ok("no training can be reckoned yet: each says what it takes before it begins")
    stage, need = max(found.items(), key=lambda each: each[1].total)
    most = "activations" if need.activations > need.weights + need.optimizer else "weights and optimizer"
    said = f"of all trainings {stage} takes most: about {decimal(need.total)} in all, of {decimal(left)}"
    return (
        wrong(f"{said}; most of it are {most}", "lower compute.micro_batch, or the model")
        if need.total > left
        else ok(said)
    )


def base_parameters(settings: Params) -> int | None:
    """Return about how many parameters the base model will have; None if that is not known before it is fetched."""
    start, tokenizer = settings.pretrain.start, settings.tokenize.tokenizer
    if start.kind == "scratch":
        assert tokenizer.kind != "model"
        # four matrices of attention, and eight of the MLP, in whatever form
        return tokenizer.vocabulary * start.hidden_size + 12 * start.layers * start.hidden_size**2
    return checks.known_start(START).parameters if START.is_dir() else None


def _networks(settings: Params, parameters: int) -> Iterator[tuple[str, int]]:
    """Yield the stages that train, each with the bytes of its networks and their optimizers."""
    yield "evaluate", HELD * parameters
    for stage, _, method in settings.methods():
        own = TRAINED if method.kind == "full" else HELD
        if stage == "align" and isinstance(settings.align, Ppo) and method.kind == "full":
            own = 2 * (TRAINED + HELD)  # policy and value learn; reference and reward model are read
        yield stage, own * parameters


def disk(settings: Params) -> Iterator[Finding]:
    """Yield what is left on the project's disk, and what the stages will take if all of them run anew."""
    free = shutil.disk_usage(Path()).free
    locked = _locked()
    sizes = {name: sum(out.get("size", 0) for out in stage.get("outs", [])) for name, stage in locked.items()}
    if not any(sizes.values()):
        yield ok(f"{decimal(free)} are free; no stage has run here yet: no forecast")
        return
    parameters = base_parameters(settings) or 0
    takes = 2 * sum(sizes.values()) + CHECKPOINTS * CHECKPOINT * parameters
    rests = "by what the stages in dvc.lock made, once in the folder and once in DVC's cache, and checkpoints"
    if changed := _changed(locked, reading.read(Path("params.yaml"))):
        rests += f"; {', '.join(changed)} in params.yaml differ from that, so it may be more"
    said = f"{decimal(free)} are free; if all stages run anew they take about {decimal(takes)} more, {rests}"
    if takes > free:
        yield wrong(said, "free some space: `jokbo clean` shows what can go")
    elif 2 * takes > free:
        yield warning(said, "`jokbo clean` shows what can go")
    else:
        yield ok(said)


def _locked() -> dict[str, Any]:
    """Return the stages of dvc.lock; none if it is not there or not whole."""
    if not lockfile.LOCK.is_file():
        return {}
    return lockfile.parsed(lockfile.LOCK.read_text("utf-8", errors="replace")) or {}


def _changed(locked: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the stages whose parameters are no longer those that dvc.lock has."""
    return [
        name
        for name, stage in locked.items()
        if any(
            _at(now, key) != value for key, value in stage.get("params", {}).get("params.yaml", {}).items()
        )
    ]


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
