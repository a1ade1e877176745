"""The MLflow run of a stage: written once a step, reopened when the stage is, with a status that is true."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Record

from jokbo import tracking
from jokbo.tracking import Run, open_run
from jokbo.training.interruption import Interrupted


def _open(store: str, key: str = "k1", **more):
    return open_run("pretrain", key, params={}, tags={}, tracking_uri=store, **more)


def _record(store: str, id: str) -> Record:
    return MlflowClient(store).get_run(id)


def test_a_run_holds_what_it_was_opened_with_and_what_was_logged(store: str) -> None:
    params = {"seed": 1, "model": {"width": 8, "betas": [0.9, 0.95]}}
    with open_run("pretrain", "k1", params=params, tags={"a": "b"}, tracking_uri=store) as run:
        run.log({"loss": 2.0}, step=1)
        run.text("hello", "samples.txt")
        run.table([{"x": 1}, {"x": 2, "y": 3}], "table.json")
    record = _record(store, run.id)
    assert record.data.params == {"seed": "1", "model.width": "8", "model.betas": "[0.9, 0.95]"}
    assert record.data.tags["a"] == "b"
    assert record.data.tags[tracking.KEY] == "k1"
    assert record.data.metrics == {"loss": 2.0}
    artifacts = Path(record.info.artifact_uri.removeprefix("file://"))
    assert (artifacts / "samples.txt").read_text() == "hello"
    assert artifacts.is_relative_to(Path(store.removeprefix("sqlite:///")).parent)


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (None, "FINISHED"),
        (ValueError(), "FAILED"),
        (Interrupted(), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
)
def test_the_status_says_how_the_run_ended(store: str, raised: BaseException | None, status: str) -> None:
    with contextlib.suppress(ValueError, Interrupted, KeyboardInterrupt), _open(store) as run:
        assert _record(store, run.id).info.status == "RUNNING"
        run.log({"loss": 1.0}, step=1)
        if raised:
            raise raised
    assert _record(store, run.id).info.status == status
    assert _record(store, run.id).data.metrics == {"loss": 1.0}  # what was buffered is not lost


def test_a_resumed_run_is_the_same_run_and_no_step_is_in_it_twice(store: str) -> None:
    with contextlib.suppress(ValueError), _open(store) as first:
        for step in (1, 2, 3):
            first.log({"loss": 1.0 / step}, step=step)
        raise ValueError("dies")
    with _open(store, resumed=True) as second:
        for step in (2, 3, 4):
            second.log({"loss": 1.0 / step}, step=step)
    assert second.id == first.id
    history = MlflowClient(store).get_metric_history(first.id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]


def test_a_finished_run_is_continued_by_a_resume_and_replaced_by_a_fresh_start(store: str) -> None:
    with _open(store) as first:
        pass
    with _open(store, resumed=True) as resumed:
        pass
    assert resumed.id == first.id
    with _open(store) as fresh:
        pass
    assert fresh.id != first.id
    assert _record(store, first.id).info.lifecycle_stage == "deleted"
    assert tracking.find_run(MlflowClient(store), "k1").info.run_id == fresh.id


def test_another_identity_is_another_run(store: str) -> None:
    with _open(store) as one, _open(store, key="k2") as other:
        assert one.id != other.id


def test_runs_of_dead_processes_are_buried_and_those_of_living_ones_are_not(store: str) -> None:
    client = MlflowClient(store)
    with _open(store, key="alive") as alive:
        dead = client.create_run(_experiment(client), tags={tracking.KEY: "dead"})
        # a pid that is taken again belongs to a process that started at another time
        client.set_tag(dead.info.run_id, tracking.PROCESS, f"{socket.gethostname()} 1 12345")
        elsewhere = client.create_run(_experiment(client), tags={tracking.PROCESS: "otherhost 1 12345"})
        with _open(store, key="next"):
            assert _record(store, dead.info.run_id).info.status == "KILLED"
            assert _record(store, alive.id).info.status == "RUNNING"
            assert _record(store, elsewhere.info.run_id).info.status == "RUNNING"


def test_a_reopened_run_is_its_new_process_s_before_it_runs(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.suppress(ValueError), _open(store) as first:
        raise ValueError("dies")
    MlflowClient(store).set_tag(first.id, tracking.PROCESS, f"{socket.gethostname()} 1 12345")
    update = MlflowClient.update_run

    def bury_first(client: MlflowClient, id: str, status: str) -> None:
        update(client, id, status)
        tracking._bury(client, _experiment(client))  # as another stage does that starts just now

    monkeypatch.setattr(MlflowClient, "update_run", bury_first)
    with _open(store) as again:
        assert again.id == first.id
        assert _record(store, again.id).info.status == "RUNNING"


def _experiment(client: MlflowClient) -> str:
    return client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id


def test_metrics_are_buffered_then_sent_by_flush_or_by_time(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _open(store) as run:
        run.log({"loss": 1.0}, step=1)
        assert _record(store, run.id).data.metrics == {}
        run.flush()
        assert _record(store, run.id).data.metrics == {"loss": 1.0}
        late = time.monotonic() + tracking.FLUSH_SECONDS + 1
        monkeypatch.setattr(time, "monotonic", lambda: late)
        run.log({"loss": 0.5}, step=2)
        assert _record(store, run.id).data.metrics == {"loss": 0.5}


def test_more_metrics_than_the_store_takes_at_once(store: str) -> None:
    with _open(store) as run:
        for step in range(2 * tracking.BATCH + 1):
            run.log({"loss": 0.0}, step=step)
    assert len(MlflowClient(store).get_metric_history(run.id, "loss")) == 2 * tracking.BATCH + 1


def test_a_rank_above_zero_says_nothing(tmp_path: Path) -> None:
    run = Run()
    run.log({"loss": 1.0}, step=1)
    run.flush()
    run.text("a", "a.txt")
    run.table([{"a": 1}], "a.json")
    run.artifact(tmp_path)
    run.tag("a", "b")
    assert run.id is None
