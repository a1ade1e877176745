"""Killed at any step and run again, a training ends with the weights of one that nobody disturbed."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from datasets import load_from_disk
from mlflow import MlflowClient
from pydantic import BaseModel
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM

from jokbo import params
from jokbo.exporting.opening import opened
from jokbo.params import Params
from jokbo.runtime import ancestry, tracking
from jokbo.runtime.run_record import Account
from tests.conftest import ROOT
from tests.support import closure, miniature

# stage -> its models, and its trainings: checkpoint folder, steps, the metric logged each step
STAGES = {
    "pretrain": (["base"], {"": (8, "pretrain/loss")}),
    "tasks": (
        ["tasks/rotten_tomatoes"],
        {
            "rotten_tomatoes": (8, "rotten_tomatoes/loss"),
            "rotten_tomatoes-scratch": (8, "rotten_tomatoes-scratch/loss"),
        },
    ),
    "finetune": (["policy"], {"policy": (8, "policy/loss")}),
    "distill": (["student"], {"": (8, "distill/loss")}),
    "reward": (["reward"], {"": (8, "reward/loss")}),
    "align": (["aligned"], {"": (6, "align/reward")}),
}

# added to the project's copy of what all sections of params.yaml are: it notes each key that a stage reads
NOTES = """
import sys

_noted = set()
_plain = BaseModel.__getattribute__

def _noting(section, name):
    own = type(section).model_fields
    keys = own if name == "model_dump" else [name] if name in own else []
    asking = sys._getframe(1).f_globals.get("__name__", "")
    if keys and not asking.startswith(("jokbo.params", "pydantic")):
        new = {f"{type(section).__name__}.{key}" for key in keys} - _noted
        _noted.update(new)
        with open(".jokbo/keys-that-were-read", "a") as file:
            file.writelines(f"{key}\\n" for key in new)
    return _plain(section, name)

Section.__getattribute__ = _noting
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature after one undisturbed run of the whole pipeline."""
    folder = miniature.build(tmp_path_factory.mktemp("miniature"))
    with open(folder / "jokbo/params/base.py", "a") as file:
        file.write(NOTES)
    (folder / ".jokbo").mkdir()
    result = miniature.run(folder, "dvc", "repro", "report")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def weights(folder: Path, models: list[str]) -> dict[str, str]:
    return {
        model: hashlib.sha256((folder / "models" / model / "model.safetensors").read_bytes()).hexdigest()
        for model in models
    }


def trails(folder: Path, stage: str) -> dict[str, list[list[Any]]]:
    """The marks of each training of a stage, by its last run."""
    (kept,) = (folder / ".jokbo/records" / stage).iterdir()
    return dict(Account.load(kept).trails)


def test_the_whole_pipeline_ran(project: Path) -> None:
    assert (project / "reports/report.html").stat().st_size > 10_000
    with open(project / "dvc.lock") as lock:
        assert len(YAML(typ="safe").load(lock)["stages"]) == 13
    again = miniature.run(project, "dvc", "repro", "report")
    assert again.stdout.count("didn't change, skipping") == 13


def test_in_a_clone_that_pulled_nothing_runs_every_model_opens_and_all_is_clean(
    project: Path, tmp_path: Path
) -> None:
    mine, clone = tmp_path / "mine", tmp_path / "clone"
    shutil.copytree(project, mine, symlinks=True)
    for arguments in (("remote", "add", "-q", "-d", "team", "../remote"), ("push", "--run-cache")):
        done = miniature.run(mine, "dvc", *arguments)
        assert done.returncode == 0, done.stderr
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["add", "-A"], ["commit", "-q", "-m", "done"], ["clone", "-q", ".", str(clone)]):
        subprocess.run([*git, *command], cwd=mine, check=True)
    (clone / ".jokbo").mkdir()  # for what notes the keys
    pulled = miniature.run(clone, "dvc", "pull")
    assert pulled.returncode == 0, pulled.stderr
    assert miniature.run(clone, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert not miniature.run(clone, "dvc", "checkout").stdout
    assert "Nothing to do" in miniature.run(clone, "flows.pipeline").stdout
    found = [file.parent for file in (clone / "models").rglob("config.json")]
    assert {opened(folder).folder.name for folder in found} == {
        *("base", "policy", "student", "reward", "aligned", "rotten_tomatoes")
    }
    assert not subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True).stdout


# it has no sources with rules of quality, and no near duplicates to compare
NOT_IN_MINIATURE = {"Quality.rules", "Bounds.minimum", "Bounds.maximum", "NearDuplicates.similarity"}


def test_every_key_of_the_chain_is_read_by_a_stage(project: Path) -> None:
    """What stands in params.yaml and is read nowhere is a knob that turns nothing."""
    read = set((project / ".jokbo/keys-that-were-read").read_text().split())
    settings = params.load(project / "params.yaml")
    chain = [getattr(settings, name) for name in Params.model_fields]
    there = {key for section in chain for key in _keys(section)}
    assert there - read == NOT_IN_MINIATURE


def _keys(node: Any) -> set[str]:
    """The keys below a section, each as CLASS.KEY of the schema; those that are left out are none."""
    if isinstance(node, dict | list):
        return set().union(*map(_keys, node.values() if isinstance(node, dict) else node))
    if not isinstance(node, BaseModel):
        return set()
    there = {key: getattr(node, key) for key in node.model_fields_set}
    return {f"{type(node).__name__}.{key}" for key in there}.union(*map(_keys, there.values()))


@pytest.mark.slow
def test_what_no_stage_depends_on_changes_no_output(project: Path, tmp_path: Path) -> None:
    """Tracking, progress, interruption and the like, exempt from dvc.yaml, with silent stand-ins in their places."""
    silent = miniature.build(tmp_path)
    for name in closure.EXEMPT:
        file = ROOT / "tests/support/silent" / f"{name.rpartition('.')[2]}.py"
        if name != "jokbo.params":  # it checks, and without it there are no parameters
            shutil.copy(file, silent / "jokbo/runtime" / file.name)
    for root in closure.ROOTS:
        (silent / root).write_text("CHANGED = {}\n")
    result = miniature.chain(silent, without=("report",))
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    ours, theirs = outputs(project), outputs(silent)
    for of_report in ("reports/report.html", "reports/result.json", "reports/figures"):
        del ours[of_report]
    assert theirs == ours


def outputs(folder: Path) -> dict[str, str]:
    """The hashes of what stages left, as DVC wrote them down; those of ancestry excepted."""
    with open(folder / "dvc.lock") as lock:
        stages = YAML(typ="safe").load(lock)["stages"].values()
    outs = [out for stage in stages for out in stage["outs"]]
    return {out["path"]: out["md5"] for out in outs if not out["path"].endswith(ancestry.SUFFIX)}


def killed_and_resumed(
    project: Path, stage: str, of: tuple[list[str], dict[str, tuple[int, str]]], *, kills: int, seed: int
) -> None:
    """`of`: the stage's models and trainings, as in STAGES."""
    models, trainings = of
    expected, left = weights(project, models), trails(project, stage)
    draw = random.Random(seed)
    moments = sorted(
        (list(trainings).index(part), draw.randint(1, trainings[part][0]))
        for part in draw.choices(list(trainings), k=kills)
    )
    for model in expected:  # they must be made again, not found
        (project / "models" / model / "model.safetensors").unlink()
    for index, step in dict.fromkeys(moments):
        part = list(trainings)[index]
        process = miniature.start(project, f"tasks.{stage}")
        pattern = f"{stage}/*/{part}/step-{step:08d}" if part else f"{stage}/*/step-{step:08d}"
        while not list((project / ".jokbo/checkpoints").glob(pattern)):
            assert process.poll() is None, process.stdout.read()[-3000:]
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    result = miniature.run(project, f"tasks.{stage}")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    part, step = list(trainings)[moments[-1][0]], moments[-1][1]
    assert "from step" in result.stdout
    assert weights(project, models) == expected
    assert trails(project, stage) == left
    assert set(left) == {part or stage for part in trainings}
    client = MlflowClient(tracking.local_store(project / ".jokbo"))
    experiment = client.get_experiment_by_name("jokbo").experiment_id
    runs = [run for run in client.search_runs([experiment]) if run.data.tags.get("stage") == stage]
    runs = [run for run in runs if tracking.SUPERSEDED not in run.data.tags]
    assert [run.info.status for run in runs] == ["FINISHED"]
    for steps, metric in trainings.values():
        logged = [point.step for point in client.get_metric_history(runs[0].info.run_id, metric)]
        assert sorted(logged) == list(range(1, steps + 1))


# the others train by the loop of these, and are killed five times by `make test-slow`
@pytest.mark.parametrize("stage", ["pretrain", "tasks", "align"])
def test_killed_once(project: Path, stage: str) -> None:
    killed_and_resumed(project, stage, STAGES[stage], kills=1, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_five_times(project: Path, stage: str) -> None:
    killed_and_resumed(project, stage, STAGES[stage], kills=5, seed=2)


def in_two_processes(project: Path, stage: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a stage as two ranks, with `changes` of compute: "zero_stage: 0" to "zero_stage: 3"."""
    text = (project / "params.yaml").read_text()
    two = text
    for key, value in {"processes": "2", **changes}.items():
        two, count = re.subn(rf"^  {key}: .*$", f"  {key}: {value}", two, flags=re.MULTILINE)
        assert count == 1
    (project / "params.yaml").write_text(two)
    try:
        assert stage not in miniature.run(project, "dvc", "status", stage).stdout
        result = miniature.run(project, f"tasks.{stage}")
    finally:
        (project / "params.yaml").write_text(text)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def test_a_stage_in_two_processes_under_zero_3(project: Path) -> None:
    """`compute` is no part of its identity: the same run, made anew, ends where one process ended."""
    alone = json.loads((project / "metrics/pretrain.json").read_text())["validation"]
    (before,) = trails(project, "pretrain").values()
    in_two_processes(project, "pretrain", zero_stage="3")
    together = json.loads((project / "metrics/pretrain.json").read_text())["validation"]
    assert together["nats_per_token"] == pytest.approx(alone["nats_per_token"], rel=0.01)
    AutoModelForCausalLM.from_pretrained(project / "models/base")
    (after,) = trails(project, "pretrain").values()
    assert [mark[:2] for mark in after] == [mark[:2] for mark in before]  # steps and batches


def test_ppo_in_two_processes(project: Path) -> None:
    """Each samples its part of the prompts; what one of them writes down has the parts of both."""
    alone = load_from_disk(str(project / "data/rollouts"))
    told = in_two_processes(project, "align").stdout
    (line,) = [line for line in told.splitlines() if "memory" in line]
    assert line.startswith("align: memory: about ")
    together = load_from_disk(str(project / "data/rollouts"))
    assert together["iteration"] == alone["iteration"]
    assert together["prompt"] == alone["prompt"]
    half, whole = len(alone.filter(lambda row: row["iteration"] == 2)) // 2, together["response"]
    assert whole[:half] != whole[half : 2 * half]
    AutoModelForCausalLM.from_pretrained(project / "models/aligned")
