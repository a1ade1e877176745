"""The default run on this machine: each stage's seconds, what came of it; and its stages killed and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from dvc.config import Config

from benchmarks.gpu.sheet import FOLDER, Sheet
from benchmarks.same import weights
from flows.profile import lay_out
from jokbo import params
from jokbo.evaluation.evaluation import Evaluation
from jokbo.reporting import headlines
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from tasks.frame import projects
from tasks.frame.paths import ALIGNED, BASE, METRICS, PROFILES, STATE, search_path
from tasks.frame.stage import state

STAGES = ["stage", "seconds"]
KILLS = ["stage", "killed after step", "of", "sha256 of its weights", "undisturbed"]
PROJECT = FOLDER / "chain"
KILLED = {"align": ALIGNED, "pretrain": BASE}  # with Muon and compiled the one, with two engines the other
LOOK_SECONDS = 0.01


def run(sheet: Sheet, small: bool) -> None:
    """Run the whole chain of params.yaml in a fresh project, with a DVC cache of its own: nothing is found done."""
    sheet.header = STAGES
    _project(PROJECT, params.read(Path("params.yaml")), cache=True)
    began, known = time.monotonic(), list(projects.stages())
    flow = subprocess.Popen([sys.executable, "-m", "flows.pipeline"], cwd=PROJECT, env=_environment())
    while flow.poll() is None:
        time.sleep(0.5)
        sheet.rows = _timings(known)
        sheet.save()
    work = sum(float(seconds) for _, seconds in _timings(known))
    sheet.rows = _timings(known)
    sheet.row("all of it, starts of processes included", f"{time.monotonic() - began:.1f}")
    sheet.note(f"{work:.0f} s of it are the stages' own work.")
    align, seconds = params.load().align, dict(_timings(known)).get("align")
    if align.kind == "ppo" and seconds:
        episodes = align.iterations * align.rollout_batch
        sheet.note(
            f"The stage align: {episodes / float(seconds):.1f} episodes/s, its beginning and end included."
        )
    if flow.returncode:
        sys.exit(f"jokbo: the flow ended with {flow.returncode}")
    evaluation = Evaluation.load(PROJECT / METRICS / "evaluate.json")
    table = headlines.models(evaluation)
    aligned = next(row for row in table.rows if row[0].startswith("aligned"))
    sheet.note(f"{headlines.verdict(evaluation)}.")
    told = zip(table.header[1:], aligned[1:], strict=True)
    sheet.note(f"The aligned model: {'; '.join(f'{what} {value}' for what, value in told)}.")


def _timings(known: list[str]) -> list[list[str]]:
    """Return the stages that have ended, and their seconds."""
    there = [(name, PROJECT / STATE / "timings" / f"{name}.json") for name in known]
    return [
        [name, f"{json.loads(path.read_text())['seconds']:.1f}"] for name, path in there if path.is_file()
    ]


def killed(sheet: Sheet, small: bool) -> None:
    """Train stages of the chain anew, each killed by SIGKILL after a checkpoint and started again, all at once."""
    sheet.header = KILLS
    with ThreadPoolExecutor() as pool:
        coming = {stage: pool.submit(_killed, stage, model) for stage, model in KILLED.items()}
        for stage, found in coming.items():
            sheet.tried(stage, found.result)


def _killed(stage: str, model: Path) -> list[str]:
    """Return a row of KILLS without its name."""
    undisturbed = _sha256(PROJECT, model)
    if not undisturbed:
        raise InputError(f"{PROJECT / model} is not there: the default run did not come so far")
    folder = FOLDER / f"killed-{stage}"
    own: Any = params.read(Path("params.yaml"))
    own["compute"]["checkpoint_seconds"] = min(1.0, own["compute"]["checkpoint_seconds"])
    _project(folder, own)
    for top in ("data", "models"):
        ignored = shutil.ignore_patterns("local", model.name)
        shutil.copytree(PROJECT / top, folder / top, ignore=ignored, dirs_exist_ok=True)
    start = partial(
        subprocess.Popen,
        [sys.executable, "-m", f"tasks.{stage}"],
        cwd=folder,
        env={**_environment(), "MLFLOW_TRACKING_URI": tracking.local_store((PROJECT / STATE).resolve())},
        start_new_session=True,
    )
    process = start()
    while not (there := _checkpoints(folder)) and process.poll() is None:
        time.sleep(LOOK_SECONDS)
    if process.poll() is not None:
        raise InputError(f"{stage} ended with {process.returncode} before it could be killed")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if status := start().wait():
        raise InputError(f"{stage}, started again, ended with {status}")
    steps = _steps(params.load(), stage)
    ours = _sha256(folder, model)
    return [
        str(max(there)),
        str(steps),
        ours[:16],
        "the same" if ours == undisturbed else f"{undisturbed[:16]}: OTHERS",
    ]


def _steps(settings: params.Params, stage: str) -> int:
    if stage == "align":
        return settings.align.iterations if settings.align.kind == "ppo" else settings.align.training.steps
    assert settings.pretrain.training
    return settings.pretrain.training.steps


def _checkpoints(folder: Path) -> list[int]:
    """Return the steps of the checkpoints that are whole."""
    found = (folder / STATE / "checkpoints").rglob("step-*/manifest.json")
    return [
        int(path.parent.name.removeprefix("step-")) for path in found if not path.parent.name.startswith(".")
    ]


def _sha256(project: Path, model: Path) -> str:
    """Return that of a model's weights; empty if there are none."""
    return "".join(sha for path, sha in weights(project).items() if Path(path).is_relative_to(model))


def _project(folder: Path, own: dict[str, Any], *, cache: bool = False) -> None:
    """Make a fresh project of this one's code, with these parameters and what is downloaded already."""
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(folder, own)
    shutil.copytree(PROFILES, folder / PROFILES)
    if (state() / "downloads").is_dir():
        shutil.copytree(state() / "downloads", folder / STATE / "downloads", copy_function=os.link)
    if cache:
        edited: Any = Config(str(folder / ".dvc"), validate=False).edit("repo")
        with edited as settings:
            settings["cache"]["dir"] = str((folder / ".dvc" / "cache").resolve())


def _environment() -> dict[str, str]:
    """Return the environment of the flow: its own store, and this Python for its stages."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_T", "PREFECT_API"))
    }
    return {**kept, "PATH": search_path(), "PREFECT_HOME": str((PROJECT / STATE / "prefect").resolve())}
