"""What a DVC remote has is not trained again, and other DVCs are waited for."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zc.lockfile

from flows import graph
from jokbo.runtime.errors import InputError
from tests.conftest import Project, until

FLOW = "flows.pipeline"
STAGES = ("pretrain", "finetune", "distill")


@pytest.fixture
def clone(served: Project, done: Project, tmp_path: Path) -> Project:
    """A colleague's clone of a project whose models and metrics are in its remote, a folder."""
    for arguments in (("remote", "add", "-d", "store", str(tmp_path / "store")), ("push",)):
        status, output = served.run("dvc", *arguments)
        assert status == 0, output
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "add", "-A"], cwd=served.folder, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "done"], cwd=served.folder, check=True)
    subprocess.run(["git", "clone", "-q", served.folder, tmp_path / "clone"], check=True)
    return Project(tmp_path / "clone", served.environment)


def test_a_clone_with_a_full_remote_trains_nothing(clone: Project) -> None:
    status, output = clone.run(FLOW)
    assert status == 0, output
    assert "starts at" not in output
    for name in STAGES:
        assert (clone.folder / "models" / name / "model.safetensors").read_bytes() == name.encode()
        assert json.loads((clone.folder / f"metrics/{name}.json").read_text()) == {"steps": 3}
    assert clone.run("dvc", "status")[1].splitlines()[-1] == "Data and pipelines are up to date."


def test_what_a_remote_lacks_is_trained_and_the_rest_is_not(clone: Project, tmp_path: Path) -> None:
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file() and path.read_bytes() == b"finetune":
            path.chmod(0o600)
            path.unlink()
    status, output = clone.run(FLOW)
    assert status == 0, output
    assert [name for name in STAGES if f"{name} starts at 0" in output] == ["finetune"]
    assert output.count("going on without the DVC remote store: ERROR: failed to transfer") == 1


def test_what_a_colleague_tried_and_did_not_commit_is_not_trained_again(
    clone: Project, served: Project
) -> None:
    change = ("params.yaml", "finetune:\n  seed: 1", "finetune:\n  seed: 2")
    served.edit(*change)
    for command in (("dvc", "repro", "finetune"), ("dvc", "push", "--run-cache")):
        status, output = served.run(*command)
        assert status == 0, output
    clone.edit(*change)
    status, output = clone.run(FLOW, "--until", "finetune")
    assert status == 0, output
    assert "starts at" not in output
    assert (clone.folder / "models/finetune/model.safetensors").read_bytes() == b"finetune"


def test_a_remote_that_cannot_be_read_is_one_line(clone: Project) -> None:
    clone.run("dvc", "remote", "modify", "store", "url", "gs://team/store")
    status, output = clone.run(FLOW, "--until", "finetune")
    assert status == 0, output
    assert [name for name in STAGES if f"{name} starts at 0" in output] == ["pretrain", "finetune"]
    assert output.count("going on without the DVC remote store: ") == 1
    assert output.count("requires 'dvc-gs' to be installed") == 1


@pytest.fixture
def other() -> Iterator[subprocess.Popen]:
    """A process that DVC takes for one of its own, for as long as it lives."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def _works_on(project: Project, path: str, process: subprocess.Popen) -> None:
    writer = {"pid": process.pid, "cmd": "dvc repro"}
    record = {"write": {str(project.folder / path): writer}, "read": {}}
    (project.folder / ".dvc/tmp/rwlock").write_text(json.dumps(record))


@pytest.mark.parametrize("lock", ["of the repository", "of a file"])
def test_another_dvc_is_waited_for(
    done: Project, other: subprocess.Popen, capfd: pytest.CaptureFixture[str], lock: str
) -> None:
    held = zc.lockfile.LockFile(".dvc/tmp/lock") if "repository" in lock else None
    if not held:
        _works_on(done, "models/pretrain", other)
    said: list[str] = []

    def release() -> None:
        until(lambda: "\n" in (said.append(capfd.readouterr().err) or "".join(said)))
        held.close() if held else other.communicate(b"\n")

    thread = threading.Thread(target=release)
    thread.start()
    found = graph.read()
    thread.join()
    assert set(found.needs) == set(STAGES)
    assert not found.stale
    holder = "another DVC" if held else f"(PID {other.pid}): dvc repro"
    assert "".join(said) == f"jokbo: waiting for {holder}, which works in this folder\n"


def test_a_stage_waits_for_another_dvc_that_works_on_its_files(
    served: Project, other: subprocess.Popen
) -> None:
    flow = served.start(FLOW, "--until", "finetune", STEPS="60", PAUSE="0.05")
    until(lambda: any(served.folder.glob(".jokbo/checkpoints/pretrain/*/step")))
    _works_on(served, "models/finetune", other)
    lines = []
    while f"waiting for (PID {other.pid}): dvc repro" not in (line := flow.stdout.readline()):
        assert line, "".join(lines)
        lines.append(line)
    other.communicate(b"\n")
    output, _ = flow.communicate()
    assert flow.returncode == 0, output
    assert "is busy" not in "".join(lines) + output
    assert "finetune starts at 0" in output


def test_a_wrong_config_of_dvc_is_named(project: Project) -> None:
    with (project.folder / ".dvc/config").open("a") as file:
        file.write("    nonsense = 1\n")
    status, output = project.run(FLOW)
    assert status == 2
    assert output.count("\n") == 1
    assert output.startswith("jokbo: .dvc/config: ")


def test_a_dvc_yaml_whose_aliases_multiply_is_one_line(project: Project) -> None:
    """DVC itself would work on them without end."""
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))]
    (project.folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    with pytest.raises(
        InputError, match=r"^dvc.yaml: line \d+: more than [^\n]* values, aliases written out"
    ):
        graph.read()
