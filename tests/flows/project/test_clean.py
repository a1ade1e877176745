"""`jokbo clean` removes what nobody needs, and nothing that a run or a resume needs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from rich.filesize import decimal
from ruamel.yaml import YAML

from tests.conftest import Project, until

OLD = time.time() - 7200


def clean(project: Project, *options: str) -> str:
    status, output = project.run("flows.project.clean", *options)
    assert status == 0, output
    return " ".join(output.split())


def saved(project: Project, stage: str = "pretrain") -> list[Path]:
    return sorted(project.folder.glob(f".jokbo/checkpoints/{stage}/*/step"))


@pytest.fixture
def killed(project: Project) -> Project:
    """A project whose training was killed, and could go on."""
    status, _ = project.run("standin", "pretrain", DIES_AT="1")
    assert status == -9
    return project


def test_checkpoints_stay_for_as_long_as_a_run_would_go_on_from_them(killed: Project) -> None:
    (step,) = saved(killed)
    assert clean(killed, "--yes") == "Nothing can go."
    killed.edit("params.yaml", "pretrain:\n  seed: 1", "pretrain:\n  seed: 2")
    said = clean(killed)
    path = step.parent.relative_to(killed.folder)
    assert (
        f"checkpoints, {decimal(step.stat().st_size)}: {path}: pretrain has another identity now; last written "
        in said
    )
    assert said.endswith("Nothing is removed: --yes does it.")
    assert step.is_file()
    assert "Removed: " in clean(killed, "--yes")
    assert not step.parent.exists()


def test_what_a_live_run_needs_stays(project: Project) -> None:
    run = project.start("standin", "pretrain", STEPS="10000", PAUSE="0.05")
    until(lambda: bool(saved(project)))
    project.edit(
        "params.yaml", "pretrain:\n  seed: 1", "pretrain:\n  seed: 2"
    )  # so another identity is its own
    (project.folder / ".jokbo/downloads/tmpxyz").mkdir(parents=True)
    os.utime(project.folder / ".jokbo/downloads/tmpxyz", (OLD, OLD))
    said = clean(project, "--yes")
    assert said.startswith("Nothing can go. At work here: pretrain, pretrain-")
    assert saved(project)
    assert (project.folder / ".jokbo/downloads/tmpxyz").is_dir()
    run.kill()
    run.wait()
    assert "Removed: " in clean(project, "--yes")
    assert not saved(project)
    assert not (project.folder / ".jokbo/downloads/tmpxyz").exists()


def test_what_no_one_needs_goes_and_nothing_else(done: Project) -> None:
    state = done.folder / ".jokbo"
    gone = [
        *saved(done, "distill"),  # the last stage has ended, and no other one has begun since and removed it
        state / "checkpoints/no_stage/0123/step",
        state / "timings/no_stage.json",
        state / "environments/family@gone.json",
        state / "downloads/tmpabc/got",
        done.folder / "data/.raw.partial/rows.arrow",
        state / "runs/1-other.jsonl",
        state / "runs/1-other/1/curves.png",
        state / "runs/2-alone/1/curves.png",
        done.folder / ".dvc/tmp/exps/standalone/tmpdef/dvc.yaml",
        state / "profiles/none/dvc.yaml",
    ]
    here = json.dumps({"opening": "a", "store": f"sqlite:///{state / 'mlflow.db'}"})
    kept = {
        state / "runs/3-here.jsonl": here,
        state / "downloads/tmpnew/got": "now",
        state / f"downloads/{'0' * 64}": "pinned",
        state / "labels/labels.db": "votes",
        state / "profiles/own/dvc.yaml": "stages: {}\n",
        done.folder / "profiles/own.yaml": "{}\n",
    }
    for path, text in {**dict.fromkeys(gone, json.dumps({"store": "http://elsewhere"})), **kept}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in gone:
        os.utime(path, (OLD, OLD))
        os.utime(path.parent, (OLD, OLD))
    subprocess.run(["git", "worktree", "add", "-q", state / "worktrees/a"], cwd=done.folder, check=True)
    before = _files(done.folder)
    assert clean(done, "--yes").count("Removed: ") == 1
    assert [path for path in [*gone, state / "worktrees/a"] if path.exists()] == []
    left = {path for path in before if path not in _files(done.folder)}
    assert left == {str(path) for path in gone} | {path for path in before if "worktrees/a" in path}
    assert clean(done, "--yes") == "Nothing can go."
    assert "project of a profile" in clean(done, "--profiles", "--yes")
    assert not (state / "profiles/own").exists()


def _files(folder: Path) -> set[str]:
    places = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts[:-1])
    return {str(path) for path in places if "prefect" not in path.parts}


def test_the_cache_keeps_what_a_lock_a_branch_or_a_tag_uses(done: Project) -> None:
    objects = done.folder / ".dvc/cache/files/md5"
    nobodys, old = objects / "00" / ("a" * 30), objects / "00" / ("b" * 30)
    for path, content in ((nobodys, "nobody's"), (old, "an old branch's")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    lock = done.folder / "dvc.lock"
    now = lock.read_text()
    outs = YAML(typ="safe").load(now)["stages"]["pretrain"]["outs"]
    (record,) = (out["md5"] for out in outs if out["path"].endswith(".ancestry.json"))
    lock.write_text(now.replace(record, "00" + "b" * 30))
    for command in (["add", "-A"], ["commit", "-qm", "old"], ["branch", "old"]):
        subprocess.run([*git, *command], cwd=done.folder, check=True)
    lock.write_text(now)
    subprocess.run([*git, "commit", "-qam", "new"], cwd=done.folder, check=True)
    before = {path for path in objects.rglob("*") if path.is_file()}
    assert "cache" not in clean(done, "--yes")
    assert "no lock, branch, tag or experiment uses it" in clean(done, "--cache", "--yes")
    assert before - {path for path in objects.rglob("*") if path.is_file()} == {nobodys}
    _, output = done.run("dvc", "status")
    assert output.splitlines()[-1] == "Data and pipelines are up to date.", output


def test_a_cache_that_others_may_use_is_left_alone(project: Project, tmp_path: Path) -> None:
    project.run("dvc", "cache", "dir", str(tmp_path / "shared"))
    status, output = project.run("flows.project.clean", "--cache", "--yes")
    assert (status, output.count("\n")) == (2, 1)
    assert "is outside of this folder, so others may use it too" in output


def test_superseded_runs_go_if_asked_for_and_no_other_finished_one(project: Project) -> None:
    for _ in range(2):
        status, output = project.run("standin", "pretrain")
        assert status == 0, output
        for step in saved(project):  # as once DVC has committed it: the next one begins anew
            step.unlink()
            step.parent.rmdir()
    (now,), (before,) = project.runs("pretrain"), project.runs("pretrain", superseded=True)
    clean(project, "--yes")
    assert project.runs("pretrain", superseded=True)
    assert "runs of MLflow: 1, which `mlflow gc` removes for good" in clean(project, "--runs", "--yes")
    stages = [project.client.get_run(run.info.run_id).info.lifecycle_stage for run in (now, before)]
    assert stages == ["active", "deleted"]


def test_outside_of_a_project_it_is_one_line(tmp_path: Path) -> None:
    status, output = Project(tmp_path).run("jokbo.cli", "clean")
    assert (status, output.count("\n")) == (2, 1)
