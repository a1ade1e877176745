"""Killed at any step and run again, a training ends with the weights of one that nobody disturbed."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM

from jokbo import tracking
from tests import miniature

# stage -> its models, and its trainings: checkpoint folder, steps, the metric logged each step
STAGES = {
    "pretrain": (["base"], {"": (8, "pretrain/loss")}),
    "finetune": (
        ["policy", "classifier"],
        {
            "policy": (8, "policy/loss"),
            "classifier": (8, "classifier/loss"),
            "classifier-scratch": (8, "classifier-scratch/loss"),
        },
    ),
    "distill": (["student"], {"": (8, "distill/loss")}),
    "reward": (["reward"], {"": (8, "reward/loss")}),
    "ppo": (["aligned"], {"": (6, "ppo/reward")}),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature after one undisturbed run of the whole pipeline."""
    folder = miniature.build(tmp_path_factory.mktemp("miniature"))
    result = miniature.run(folder, "dvc", "repro", "report")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def weights(folder: Path, stage: str) -> dict[str, str]:
    return {
        model: hashlib.sha256((folder / "models" / model / "model.safetensors").read_bytes()).hexdigest()
        for model in STAGES[stage][0]
    }


def test_the_whole_pipeline_ran(project: Path) -> None:
    assert (project / "reports/report.html").stat().st_size > 10_000
    with open(project / "dvc.lock") as lock:
        assert len(YAML(typ="safe").load(lock)["stages"]) == 11
    again = miniature.run(project, "dvc", "repro", "report")
    assert again.stdout.count("didn't change, skipping") == 11


def killed_and_resumed(project: Path, stage: str, kills: int, seed: int) -> None:
    expected = weights(project, stage)
    trainings = STAGES[stage][1]
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
    assert weights(project, stage) == expected
    client = MlflowClient(tracking.local_store(project / ".jokbo"))
    experiment = client.get_experiment_by_name("jokbo").experiment_id
    runs = [run for run in client.search_runs([experiment]) if run.info.run_name == stage]
    runs = [run for run in runs if tracking.SUPERSEDED not in run.data.tags]
    assert [run.info.status for run in runs] == ["FINISHED"]
    for steps, metric in trainings.values():
        logged = [point.step for point in client.get_metric_history(runs[0].info.run_id, metric)]
        assert sorted(logged) == list(range(1, steps + 1))


@pytest.mark.parametrize("stage", STAGES)
def test_killed_once(project: Path, stage: str) -> None:
    killed_and_resumed(project, stage, kills=1, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_five_times(project: Path, stage: str) -> None:
    killed_and_resumed(project, stage, kills=5, seed=2)


def test_a_stage_in_two_processes_under_zero_3(project: Path) -> None:
    """`compute` is no part of its identity: the same run, made anew, ends where one process ended."""
    alone = json.loads((project / "metrics/pretrain.json").read_text())["validation"]
    text = (project / "params.yaml").read_text()
    two = text.replace("processes: 1", "processes: 2").replace("zero_stage: 0", "zero_stage: 3")
    assert two.count("processes: 2") == two.count("zero_stage: 3") == 1
    (project / "params.yaml").write_text(two)
    try:
        assert "pretrain" not in miniature.run(project, "dvc", "status", "pretrain").stdout
        result = miniature.run(project, "tasks.pretrain")
    finally:
        (project / "params.yaml").write_text(text)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    together = json.loads((project / "metrics/pretrain.json").read_text())["validation"]
    assert together["nats_per_token"] == pytest.approx(alone["nats_per_token"], rel=0.01)
    AutoModelForCausalLM.from_pretrained(project / "models/base")
