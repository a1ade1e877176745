"""What a tracker does not take is kept, said in one line, and sent later, once."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Record

from jokbo.runtime import mlflow_runs, outbox, tracking
from jokbo.runtime.tracking import Subject, open_run
from tests.conftest import ROOT
from tests.support import tracker

# trains in a process of its own, so that it can be killed
TRAINING = """
import os, sys
from pathlib import Path
from jokbo.runtime import outbox
from jokbo.runtime.tracking import Subject, open_run
uri, state, dies = sys.argv[1:4]
if dies == "removing":
    outbox._remove = lambda path: os.kill(os.getpid(), 9)
of = Subject("pretrain", "other" if dies == "removing" else "k", {"a": 1}, {})
with open_run(of, tracking_uri=uri, state=Path(state), resumed=len(sys.argv) > 4) as run:
    for step in range(3):
        run.log({"loss": float(step)}, step=step)
        run.flush()
    run.text("hello", "samples.txt")
    if dies == "training":
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "project" / ".jokbo"


def _train(uri: str, state: Path, dies: str = "never", *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TRAINING, uri, str(state), dies, *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def _open(uri: str, state: Path, key: str = "k", **more):
    return open_run(Subject("pretrain", key, {"a": 1}, {"b": "c"}), tracking_uri=uri, state=state, **more)


def _runs(uri: str) -> list[Record]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def _steps(uri: str, record: Record) -> list[int]:
    return [point.step for point in MlflowClient(uri).get_metric_history(record.info.run_id, "loss")]


def _kept(state: Path) -> list[Path]:
    return list((state / outbox.RUNS).iterdir())


@contextlib.contextmanager
def _refusing():
    with tracker.hanging() as uri:  # its port is free once it is closed, and nobody listens there
        pass
    yield uri


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (_refusing, "Connection refused"),
        (tracker.hanging, "timed out"),
        (lambda: tracker.answering(500), "500"),
        (lambda: tracker.answering(200), "not in a valid JSON format"),
        (lambda: tracker.answering(401), "401"),
        (lambda: contextlib.nullcontext("http://no-such-host.invalid:5000"), "ame"),
    ],
)
def test_a_stage_goes_on_without_its_tracker_and_says_so_in_one_line_without_password(
    server: Callable, said: str, state: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with server() as uri:
        uri = uri.replace("://", "://me:s3cret@")
        with _open(uri, state) as run:
            run.log({"loss": 1.0}, step=1)
            run.flush()
            run.log({"loss": 0.5}, step=2)
    printed = "".join(capfd.readouterr())
    assert printed.startswith("jokbo: MLflow at http://***@")
    assert printed.count("\n") == 1
    assert said in printed
    assert "s3cret" not in printed
    (file,) = (path for path in _kept(state) if path.suffix == ".jsonl")
    assert "s3cret" not in file.read_text()
    assert json.loads(file.read_text().splitlines()[-1])["status"] == "FINISHED"


def test_what_was_kept_is_sent_by_the_next_run_whole_and_once(
    pristine: Path, tmp_path: Path, state: Path
) -> None:
    shutil.copy(pristine / ".jokbo/mlflow.db", tmp_path)
    port = tracker.free_port()
    uri = f"http://127.0.0.1:{port}"
    killed = _train(uri, state, "training")
    assert killed.returncode == -signal.SIGKILL
    assert _train(uri, state, "never", "resumed").returncode == 0  # logs its steps again
    with tracker.serving(port, tmp_path):
        # the next run, of another stage, is killed when it has sent and not yet removed what it sent
        assert _train(uri, state, "removing").returncode == -signal.SIGKILL
        assert _kept(state)
        with _open(uri, state, key="third"):
            pass
        assert not _kept(state)
        records = {record.data.tags[tracking.KEY]: record for record in _runs(uri)}
        assert {key: record.info.status for key, record in records.items()} == {
            "k": "FINISHED",
            "other": "KILLED",
            "third": "FINISHED",
        }
        assert len(_runs(uri)) == 3  # the killed one and the one that resumed it are one run
        assert all(record.data.params == {"a": "1"} for record in records.values())
        assert _steps(uri, records["k"]) == [0, 1, 2]
        artifacts = MlflowClient(uri).list_artifacts(records["k"].info.run_id)
        assert [artifact.path for artifact in artifacts] == ["environment.json", "samples.txt"]


def test_a_server_that_stops_and_comes_back_in_mid_training(
    pristine: Path,
    tmp_path: Path,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    shutil.copy(pristine / ".jokbo/mlflow.db", tmp_path)
    port = tracker.free_port()
    with contextlib.ExitStack() as server:
        uri = server.enter_context(tracker.serving(port, tmp_path))
        with _open(uri, state) as run:
            run.log({"loss": 1.0}, step=1)
            run.flush()
            server.close()
            for step in (2, 3):
                run.log({"loss": 1.0}, step=step)
                run.flush()
            run.text("hello", "samples.txt")
            with tracker.serving(port, tmp_path):
                run.log({"loss": 1.0}, step=4)
                run.flush()  # it is not yet time to try again
                monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.0)
                run._outbox._retry_at = 0.0
                run.log({"loss": 1.0}, step=5)
                run.flush()
                (record,) = _runs(uri)
                assert record.info.run_id == run.id
                assert record.info.status == "RUNNING"
                assert _steps(uri, record) == [1, 2, 3, 4, 5]
                assert len(_kept(state)) == 1
            run.log({"loss": 1.0}, step=6)  # and gone again, to the end
    lines = capfd.readouterr().err.splitlines()
    assert [line.startswith("jokbo: MLflow") for line in lines] == [True, True, True]
    with tracker.serving(port, tmp_path):
        with _open(uri, state, key="other"):
            pass
        (record,) = (record for record in _runs(uri) if record.info.run_id == run.id)
        assert record.info.status == "FINISHED"
        assert _steps(uri, record) == [1, 2, 3, 4, 5, 6]
    assert not _kept(state)


def test_children_of_a_run_that_was_kept_find_their_parent(
    pristine: Path, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "connect", _refuse)
    store = {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}", "state": state}
    shutil.copy(pristine / ".jokbo/mlflow.db", tmp_path)
    with open_run(Subject("pipeline", "p", {}, {}), **store) as parent:
        known = {mlflow_runs.PARENT: parent.id}
        with open_run(Subject("fetch", "f", {}, known), **store):
            pass
        monkeypatch.undo()
        with open_run(Subject("prepare", "q", {}, known), **store):
            pass
    with open_run(Subject("tokenize", "t", {}, known), **store):
        pass
    records = {record.info.run_name: record for record in _runs(store["tracking_uri"])}
    for name in ("fetch", "prepare", "tokenize"):
        assert records[name].data.tags[mlflow_runs.PARENT] == records["pipeline"].info.run_id


def _refuse(uri: str):
    raise ConnectionRefusedError("down")


def test_a_store_that_takes_no_artifacts_holds_nothing_else_up(
    store: str, state: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError("no credentials")

    with _open(store, state) as run:
        run.log({"loss": 1.0}, step=1)
        monkeypatch.setattr(MlflowClient, "log_artifact", refuse)
        run.text("hello", "samples.txt")
    assert "no credentials" in capfd.readouterr().err
    with _open(store, state, key="other"):
        pass
    for record in _runs(store):
        assert record.info.status == "FINISHED"
    monkeypatch.undo()
    with _open(store, state, key="third"):
        pass
    assert not _kept(state)
    assert "samples.txt" in [artifact.path for artifact in MlflowClient(store).list_artifacts(run.id)]


def test_what_mlflow_can_never_take_is_said_and_left_out(
    store: str, state: Path, capfd: pytest.CaptureFixture
) -> None:
    with _open(store, state) as run:
        run.log({"loss %": 1.0}, step=1)
        run.flush()
        run.log({"loss": 1.0}, step=1)
    printed = capfd.readouterr().err
    assert printed.startswith("jokbo: MLflow refuses metrics of pretrain")
    assert printed.count("\n") == 1
    assert not _kept(state)
    assert MlflowClient(store).get_run(run.id).data.metrics == {"loss": 1.0}


def test_an_experiment_or_a_run_that_was_deleted_is_restored(
    store: str, state: Path, capfd: pytest.CaptureFixture
) -> None:
    client = MlflowClient(store)
    with _open(store, state) as run:
        experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
        client.delete_experiment(experiment)  # one click in the browser, in mid-training
        run.log({"loss": 1.0}, step=1)
        run.flush()
        client.delete_run(run.id)
        run.log({"loss": 1.0}, step=2)
    client.delete_experiment(experiment)
    with _open(store, state, key="other"):
        pass
    printed = capfd.readouterr().err
    assert printed.splitlines() == 2 * [
        "jokbo: MLflow's experiment jokbo had been deleted: it and its runs are restored"
    ]
    record = client.get_run(run.id)
    assert (record.info.lifecycle_stage, record.info.status) == ("active", "FINISHED")
    assert _steps(store, record) == [1, 2]


def test_what_was_kept_is_sent_also_where_nothing_is_left_to_run(
    store: str, state: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "connect", _refuse)
    with _open(store, state) as run:
        run.log({"loss": 1.0}, step=1)
    tracking.send_left(store, state)
    assert _kept(state)
    monkeypatch.undo()
    tracking.send_left(store, state)
    assert not _kept(state)
    (record,) = _runs(store)
    assert (record.info.status, _steps(store, record)) == ("FINISHED", [1])
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition("(")[0] for line in lines[1:]] == [
        f"jokbo: MLflow at {store} takes nothing ",
        "jokbo: sent to MLflow what 1 earlier run had kept",
    ]


def test_what_one_server_did_not_take_is_not_sent_to_another(store: str, state: Path) -> None:
    with _refusing() as uri, _open(uri, state):
        pass
    with _open(store, state, key="other") as other:
        pass
    assert [record.info.run_id for record in _runs(store)] == [other.id]
    assert _kept(state)


def test_a_cut_line_is_no_obstacle(store: str, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "connect", _refuse)
    with _open(store, state) as run:
        run.log({"loss": 1.0}, step=1)
    monkeypatch.undo()
    (file,) = (path for path in _kept(state) if path.suffix == ".jsonl")
    file.write_text(file.read_text()[:-9])
    with _open(store, state, key="other"):
        pass
    assert not _kept(state)
    assert {record.info.status for record in _runs(store)} == {"FINISHED", "KILLED"}
