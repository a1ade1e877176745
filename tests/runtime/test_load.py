"""The machine's load goes into a run as its other numbers do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from jokbo.runtime import load
from jokbo.runtime.tracking import Run, Subject, open_run
from tests.conftest import until


def _looked(run: Run) -> bool:
    return any(name.startswith("system/disk") for name, *_ in run._buffer)


def test_the_load_is_logged_while_a_stage_runs_and_not_if_it_is_turned_off(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(load.INTERVAL, "0.01")
    before = int(time.time())
    with open_run(Subject("pretrain", "k", {}, {}), tracking_uri=store, state=tmp_path) as run:
        with load.logged(run):
            until(lambda: _looked(run))
        run.log({"loss": 1.0}, step=1)
    client = MlflowClient(store)
    found = client.get_run(run.id).data.metrics
    assert found["loss"] == 1.0
    assert 0 < found["system/system_memory_usage_percentage"] <= 100
    points = client.get_metric_history(run.id, "system/cpu_utilization_percentage")
    assert all(before <= point.step <= time.time() for point in points)
    monkeypatch.setenv(load.SWITCH, "false")
    with load.logged(run):
        time.sleep(0.1)
    assert not run._buffer


def test_a_machine_that_cannot_be_looked_at_is_one_line_and_no_more(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv(load.INTERVAL, "soon")
    with (
        open_run(Subject("pretrain", "k", {}, {}), tracking_uri=store, state=tmp_path) as run,
        load.logged(run),
    ):
        pass
    assert capfd.readouterr().err.startswith(
        "jokbo: the load of this machine is not logged (could not convert"
    )
