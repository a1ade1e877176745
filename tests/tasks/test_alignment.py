"""PPO and its baselines as a user runs them, in the miniature after its reward model; one of them is killed."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.support import miniature

NAMES = ("supervised", "rloo", "ppo")


@pytest.mark.slow
def test_the_graph_runs_beside_the_chain_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    project = miniature.build(tmp_path / "project")
    folder = miniature.add_alignment(project, *NAMES)
    ran = miniature.run(project, "dvc", "repro", "reward")
    assert ran.returncode == 0, ran.stderr

    stage = miniature.start(folder, "dvc", "repro", "--single-item", "alignment@rloo")
    checkpoints = project / ".jokbo/checkpoints/alignment@rloo"
    while stage.poll() is None and not list(checkpoints.glob("*/step-*")):
        time.sleep(0.05)
    for process in _below(stage.pid):
        process.send_signal(signal.SIGKILL)
    stage.communicate()

    for name in NAMES:
        ran = miniature.run(folder, "dvc", "repro", "--single-item", f"alignment@{name}")
        assert ran.returncode == 0, ran.stdout + ran.stderr
    ran = miniature.run(folder, "dvc", "repro", "--single-item", "alignment_table")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    table = (folder / "reports/alignment.md").read_text()
    assert [line.split(" | ")[0] for line in table.splitlines()[-3:]] == [f"| {name}" for name in NAMES]
    assert (folder / "models/rloo/model.safetensors").is_file()
    found = {name: json.loads((folder / f"metrics/alignment/{name}.json").read_text()) for name in NAMES}
    assert found["rloo"]["samples"] == found["ppo"]["samples"] == 8 * (6 + 1)
    assert "Data and pipelines are up to date" in miniature.run(project, "dvc", "status", "reward").stdout


def _below(pid: int) -> list[psutil.Process]:
    whole = psutil.Process(pid)
    return [*whole.children(recursive=True), whole]
