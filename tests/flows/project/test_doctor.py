"""`jokbo doctor` in a real project: as it should be, and with something amiss in all that it looks at."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flows.project import doctor
from jokbo.runtime.owner import PROCESS
from jokbo.runtime.tracking import EXPERIMENT
from jokbo.team.upkeep import findings, tracker
from tests.conftest import Project

OF_PROJECT = ("params", "git", "dvc", "dvc remote", "mlflow", "unsent", "prefect", "runs")
SECRET = "s3cret"


def examined(project: Project, **environment: str) -> tuple[int, dict[str, list[dict[str, str]]], str]:
    """Return the exit status, the findings by check, and all that was printed."""
    status, output = project.run("jokbo.cli", "doctor", "--json", **environment)
    found: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(output):
        found.setdefault(one.pop("check"), []).append(one)
    return status, found, output


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_nothing_of_a_project_is_wrong_and_nothing_is_changed(done: Project) -> None:
    before = files(done.folder)
    status, found, _ = examined(done)
    assert {finding["level"] for name in OF_PROJECT for finding in found[name]} == {"ok"}
    assert status == any(one["level"] == "wrong" for every in found.values() for one in every)
    assert "by what the stages in dvc.lock made" in found["disk"][0]["found"]
    assert files(done.folder) == before


def test_what_is_amiss_is_found_and_no_secret_shown(done: Project) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        _plant(done, stranger)
        status, found, output = examined(done, PREFECT_API_URL=f"http://me:{SECRET}@127.0.0.1:9/api")
        stranger.communicate(b"\n")
    assert status == 1
    assert SECRET not in output
    levels = {name: [finding["level"] for finding in found[name]] for name in OF_PROJECT}
    assert levels == {
        "params": ["wrong"],
        "git": ["ok"],
        "dvc": ["ok", "warning"],
        "dvc remote": ["wrong"],
        "mlflow": ["ok", "warning"],
        "unsent": ["warning"],
        "prefect": ["wrong"],
        "runs": ["ok", "warning"],
    }
    assert found["params"][0]["found"].startswith("params.yaml: pretrain.sed is not a known key")
    assert found["dvc"][1]["found"] == "dvc.lock is half written"
    assert "https://***@127.0.0.1:9/store" in found["dvc remote"][0]["found"]
    assert found["mlflow"][1]["found"] == "1 run shown as running, whose process is gone"
    assert f"PID {stranger.pid}" in found["runs"][1]["found"]


def _plant(project: Project, stranger: subprocess.Popen) -> None:
    """Make something wrong of all that is looked at in a project."""
    project.edit("params.yaml", "pretrain:\n  seed: 1", "pretrain:\n  sed: 1")
    lock = project.folder / "dvc.lock"
    lock.write_text(lock.read_text()[:-30])
    url = f"https://me:{SECRET}@127.0.0.1:9/store"
    with (project.folder / ".dvc/config").open("a") as file:
        file.write(f"    remote = far\n['remote \"far\"']\n    url = {url}\n")
    _leave_a_dead_run(project)
    (project.folder / ".jokbo/runs").mkdir(exist_ok=True)
    (project.folder / ".jokbo/runs/1-a.jsonl").write_text("{}\n")
    writer = {"pid": stranger.pid, "cmd": "dvc repro"}
    (project.folder / ".dvc/tmp").mkdir(exist_ok=True)
    (project.folder / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {"models/pretrain": writer}}))


def _leave_a_dead_run(project: Project) -> None:
    """Leave a run as a process leaves it that is killed."""
    code = "from jokbo.runtime.owner import process; print(process())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    experiment = project.client.create_experiment(EXPERIMENT)
    project.client.create_run(experiment, tags={PROCESS: dead.stdout.strip()})


def looked_at(check: findings.Check) -> list[tuple[str, str]]:
    """Return level and words of what one check finds in the current folder."""
    return [(finding.level, finding.found) for _, finding in findings.examined({"it": check})]


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (f"http://me:{SECRET}@127.0.0.1:9", "http://***@127.0.0.1:9 does not answer ("),
        ("htp://x", "MLFLOW_TRACKING_URI=htp://x is no store that MLflow knows"),
    ],
)
def test_a_tracking_server_that_is_not_there_is_wrong(
    project: Project, monkeypatch: pytest.MonkeyPatch, store: str, said: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    ((level, found),) = looked_at(lambda: tracker.mlflow(Path(".jokbo")))
    assert level == "wrong"
    assert found.startswith(said)
    assert SECRET not in found


def test_a_remote_in_a_folder_is_held_against_what_is_there(project: Project, tmp_path: Path) -> None:
    project.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    assert [level for level, _ in looked_at(doctor.remote)] == ["warning"]
    (tmp_path / "store").mkdir()
    assert looked_at(doctor.remote) == [("ok", f"store ({tmp_path / 'store'}) answers")]


def test_a_driver_that_waits_for_the_network_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 seconds"):
        doctor.within(0.1, never.wait)
    never.set()
    assert doctor.within(60, lambda: "there") == "there"


def test_outside_of_a_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert looked_at(doctor.dvc) == [("wrong", "this is no project of DVC")]
    assert looked_at(doctor.runs)[0] == ("ok", "nothing runs in this folder")
    assert findings.is_right([("remote", one) for one in doctor.remote()])
