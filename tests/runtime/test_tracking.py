"""The MLflow run of a stage: written once a step, reopened when the stage is, with a status that is true."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import time
from pathlib import Path

import mlflow.data
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Record

from jokbo.runtime import environment, mlflow_runs, outbox, owner, tracking
from jokbo.runtime.interruption import Interrupted
from jokbo.runtime.tracking import Run, Subject, open_run


def _open(store: str, key: str = "k1", project: str = "project", **more):
    state = Path(store.removeprefix("sqlite:///")).parent / project / ".jokbo"
    return open_run(Subject("pretrain", key, {}, {}), tracking_uri=store, state=state, **more)


def _record(store: str, id: str) -> Record:
    return MlflowClient(store).get_run(id)


def test_a_run_holds_what_it_was_opened_with_and_what_was_logged(store: str, tmp_path: Path) -> None:
    params = {"seed": 1, "model": {"width": 8, "betas": [0.9, 0.95]}}
    tags = {"a": "b"}
    with open_run(Subject("pretrain", "k1", params, tags), tracking_uri=store, state=tmp_path) as run:
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
    assert json.loads((artifacts / "table.json").read_text())["data"] == [[1, None], [2, 3]]
    shown = json.loads(record.data.tags["mlflow.loggedArtifacts"])  # MLflow shows these as tables
    assert shown == [{"path": "table.json", "type": "table"}]
    (made_in,) = json.loads((artifacts / "environment.json").read_text())
    assert made_in == json.loads(json.dumps(environment.collect()))
    assert record.data.tags["environment.processor"] == made_in["processor"]
    assert artifacts.is_relative_to(Path(store.removeprefix("sqlite:///")).parent)


def test_what_a_run_reads_is_in_mlflow_as_data_sets_with_their_hashes(store: str) -> None:
    digests = {"data/tokens": "0123456789abcdef0123456789abcdef.dir", "models/start": "fedcba"}
    with _open(store) as run:
        run.inputs(digests)
        run.inputs(digests)  # as a stage that resumes does
    found = _record(store, run.id).inputs.dataset_inputs
    assert {one.dataset.name: one.dataset.digest for one in found} == digests
    assert len(found) == 2
    source = mlflow.data.get_source(found[0])
    assert source.uri == found[0].dataset.name


def test_a_run_of_what_somebody_ran_before_has_a_link_to_that(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = {"mlflow.note.content": "The stage `pretrain`."}
    ids = []
    for person in ("ann", "bob"):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", person)
        state = Path(store.removeprefix("sqlite:///")).parent / person / ".jokbo"
        with open_run(Subject("pretrain", "k1", {}, note), tracking_uri=store, state=state) as run:
            ids.append(run.id)
    anns, bobs = (_record(store, id) for id in ids)
    assert mlflow_runs.EARLIER not in anns.data.tags
    assert anns.data.tags["mlflow.note.content"] == "The stage `pretrain`."
    assert bobs.data.tags[mlflow_runs.EARLIER] == ids[0]
    link = f"[{ids[0][:8]}](#/experiments/{bobs.info.experiment_id}/runs/{ids[0]})"
    said = f"The same was run before: {link}, by ann, finished."
    assert bobs.data.tags["mlflow.note.content"] == f"The stage `pretrain`.\n\n{said}"
    assert tracking.SUPERSEDED not in anns.data.tags  # each person's own stands


def test_a_run_takes_more_parameters_than_one_batch_and_a_name_that_tells(store: str, tmp_path: Path) -> None:
    params = {f"p{number}": number for number in range(2 * outbox.PARAMS + 1)}
    tags = {"mlflow.runName": "chain, 0123abc"}
    with open_run(Subject("pipeline", "k1", params, tags), tracking_uri=store, state=tmp_path) as run:
        pass
    record = _record(store, run.id)
    assert len(record.data.params) == len(params)
    assert record.info.run_name == "chain, 0123abc"


def test_nested_names_are_joined_by_the_separator() -> None:
    assert tracking.flat({"a": {"b": {"c": 1}}, "d": 2}, "/") == {"a/b/c": 1, "d": 2}


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


def test_a_finished_run_is_continued_by_a_resume_and_superseded_by_a_fresh_start(store: str) -> None:
    with _open(store) as first:
        first.log({"loss": 1.0}, step=1)
    with _open(store, resumed=True) as resumed:
        pass
    assert resumed.id == first.id
    with _open(store) as fresh:
        assert tracking.find_run(MlflowClient(store), "k1").info.run_id == fresh.id
    assert fresh.id != first.id
    before = _record(store, first.id)
    assert (before.info.lifecycle_stage, before.info.status) == ("active", "FINISHED")
    assert before.data.metrics == {"loss": 1.0}
    assert before.data.tags[tracking.SUPERSEDED] == fresh.id
    assert tracking.find_run(MlflowClient(store), "k1").info.run_id == fresh.id
    with _open(store) as again:
        assert _record(store, fresh.id).data.tags[tracking.SUPERSEDED] == again.id
    assert _record(store, first.id).data.tags[tracking.SUPERSEDED] == fresh.id


def test_killed_between_making_a_run_and_superseding_the_finished_one(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _open(store) as finished:
        pass
    monkeypatch.setattr(MlflowClient, "set_tag", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        _open(store).__enter__()
    monkeypatch.undo()
    with _open(store) as again:
        pass
    assert _record(store, finished.id).data.tags[tracking.SUPERSEDED] == again.id
    client = MlflowClient(store)
    assert len(client.search_runs([_experiment(client)])) == 2


def _interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_another_identity_is_another_run(store: str) -> None:
    with _open(store) as one, _open(store, key="k2") as other:
        assert one.id != other.id


@pytest.mark.parametrize("other", ["folder", "person", "host", "volume"])
def test_a_run_of_the_same_identity_elsewhere_or_of_somebody_else_is_another_run(
    store: str, other: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with _open(store) as finished:
        pass
    with _open(store, key="k2") as mine:
        if other == "person":
            monkeypatch.setattr(owner.pwd, "getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
        elif other == "host":
            monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        elif other == "volume":  # two containers that are alike in all else
            (tmp_path / "project").rename(tmp_path / "first")
        project = "clone" if other == "folder" else "project"
        with _open(store, project=project) as theirs, _open(store, key="k2", project=project) as at_once:
            assert _record(store, mine.id).info.status == "RUNNING"
        assert theirs.id != finished.id
        assert at_once.id != mine.id
        assert tracking.SUPERSEDED not in _record(store, finished.id).data.tags
        if other == "volume":
            (tmp_path / "project").rename(tmp_path / "second")
            (tmp_path / "first").rename(tmp_path / "project")
    assert _record(store, mine.id).info.status == "FINISHED"


def test_a_run_has_its_owner_from_the_first_moment(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    create = MlflowClient.create_run
    made = []

    def killed_after(client: MlflowClient, *arguments, **more) -> None:
        made.append(create(client, *arguments, **more).info.run_id)
        raise KeyboardInterrupt  # nothing after create_run is done

    monkeypatch.setattr(MlflowClient, "create_run", killed_after)
    with pytest.raises(KeyboardInterrupt):
        _open(store).__enter__()
    monkeypatch.undo()
    assert _record(store, made[0]).data.tags[owner.PROCESS] == owner.process()
    with _open(store, key="next"):  # of the same folder, whose locks tell that nobody writes it
        assert _record(store, made[0]).info.status == "KILLED"
    with _open(store) as again:
        assert again.id == made[0]


def test_runs_of_dead_processes_are_buried_and_those_of_living_ones_are_not(store: str) -> None:
    client = MlflowClient(store)
    host, boot, namespace, pid, start = owner.process().split()
    others = {
        "living": (host, boot, namespace, pid, start),
        "pid taken again": (host, boot, namespace, pid, "1"),
        "gone": (host, boot, namespace, "4194304", start),  # above the highest pid there can be
        "another host": ("elsewhere", boot, namespace, pid, "1"),
        "another boot": (host, "another", namespace, pid, "1"),
        "another container": (host, boot, "pid:[1]", pid, "1"),
        "an earlier jokbo": (host, pid, "12345"),
    }
    with _open(store):
        pass
    ids = {
        name: client.create_run(_experiment(client), tags={owner.PROCESS: " ".join(process)}).info.run_id
        for name, process in others.items()
    }
    with _open(store, key="next"):
        killed = {name for name, id in ids.items() if _record(store, id).info.status == "KILLED"}
    assert killed == {"pid taken again", "gone"}


def test_a_copy_of_a_folder_does_not_bury_the_live_run_of_the_original(store: str, tmp_path: Path) -> None:
    with _open(store) as live:
        shutil.copytree(tmp_path / "project", tmp_path / "copy")
        with _open(store, project="copy") as other:
            assert other.id != live.id
            assert _record(store, live.id).info.status == "RUNNING"
        live.log({"loss": 1.0}, step=1)
    assert _record(store, live.id).info.status == "FINISHED"


def test_a_reopened_run_is_its_new_process_s_before_it_runs(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.suppress(ValueError), _open(store) as first:
        raise ValueError("dies")
    MlflowClient(store).set_tag(first.id, owner.PROCESS, owner.process().rpartition(" ")[0] + " 1")
    update = MlflowClient.update_run

    def bury_first(client: MlflowClient, id: str, status: str) -> None:
        update(client, id, status)
        mlflow_runs.bury(client, _experiment(client))  # as another stage does that starts just now

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
        for step in range(2 * outbox.BATCH + 1):
            run.log({"loss": 0.0}, step=step)
    assert len(MlflowClient(store).get_metric_history(run.id, "loss")) == 2 * outbox.BATCH + 1


def test_a_rank_above_zero_says_nothing(tmp_path: Path) -> None:
    run = Run()
    run.log({"loss": 1.0}, step=1)
    run.flush()
    run.text("a", "a.txt")
    run.table([{"a": 1}], "a.json")
    run.artifact(tmp_path)
    run.tag("a", "b")
    assert run.id is None
