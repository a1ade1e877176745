"""A training that does no step any more is stopped and tried again; one that is only slow is not."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from flows import watchdog
from jokbo.runtime import progress
from tests.conftest import Project
from tests.flows.conftest import outcomes

HANGS = """
    from jokbo.runtime.progress import Progress
    with Progress(NAME, 40, done=start, compiles=False) as progress:
        for step in range(start, 40):
            time.sleep(0.05)
            progress.advance()
            stage.checkpoints.mkdir(parents=True, exist_ok=True)
            saved.write_text(str(step + 1))
            if step == 30 and start == 0:
                time.sleep(3600)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(watchdog.LEAST, "0.2")
    return tmp_path / "step.json"


def test_no_step_for_many_times_the_median_is_a_hang_and_a_step_ends_it(file: Path) -> None:
    watch = watchdog.Watch(file)
    assert watch.hung() is None
    file.write_text(json.dumps({"seconds": 0.001}))
    assert watch.hung() is None
    time.sleep(0.3)
    assert watch.hung() == "it did no step for 0 s, where one takes 0.001 s"
    os.utime(file)
    assert watch.hung() is None


def test_a_training_whose_steps_take_long_is_given_time(file: Path) -> None:
    watch = watchdog.Watch(file)
    file.write_text(json.dumps({"seconds": 60.0}))
    assert watch.hung() is None
    time.sleep(0.3)
    assert watch.hung() is None


def test_a_training_tells_its_steps_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "steps/pretrain.json"
    monkeypatch.setenv(progress.STEPS, str(file))
    monkeypatch.setattr(progress, "STEP_SECONDS", 0.0)
    with progress.Progress("pretrain", 9, done=4, compiles=False) as shown:
        shown.advance()
        assert not file.exists()  # one step has no length: what was before it may be a compilation
        shown.advance()
        assert json.loads(file.read_text())["seconds"] >= 0
    assert not file.exists()


def test_a_stage_that_hangs_is_stopped_and_goes_on_from_its_checkpoint(served: Project) -> None:
    served.edit("standin.py", "    for step in range(start", HANGS + "    for step in range(40")
    status, output = served.run("flows.pipeline", "--until", "pretrain", **{watchdog.LEAST: "10"})
    assert status == 0, output
    assert "pretrain was stopped: it did no step for " in output
    assert outcomes(output) == {"pretrain": "ran"}
    assert output.count("pretrain starts at") == 2
    assert "pretrain starts at 31" in output
