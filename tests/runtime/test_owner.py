"""Which process writes a run: known for certain or not at all, whatever clocks, containers and names do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jokbo.runtime import owner
from tests.conftest import ROOT

CONTAINER = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
ASK = "import sys; from jokbo.runtime import owner; print(owner.gone(sys.argv[1]))"


def _process(pid: int) -> str:
    """As `owner.process` names it."""
    return " ".join([*owner.process().split()[:3], str(pid), owner._start(pid)])


def test_a_process_is_gone_when_it_has_ended_and_not_before() -> None:
    child = subprocess.Popen(["sleep", "60"])
    named = _process(child.pid)
    assert not owner.gone(named)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.gone(named)  # a zombie
    child.wait()
    assert owner.gone(named)
    assert not owner.gone(owner.process())


@pytest.mark.parametrize("tag", ["", "-", "a b", "a b c d e f"])
def test_a_run_that_something_else_made_is_not_known_to_be_gone(tag: str) -> None:
    assert not owner.gone(tag)


def test_setting_the_clock_does_not_kill_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    named = owner.process()
    created = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + 1)
    assert owner.process() == named
    assert not owner.gone(named)


@pytest.mark.parametrize("proc", [["--mount-proc"], []])  # with a /proc of its own, and with its host's
def test_a_process_of_another_pid_namespace_is_not_known_to_be_gone(proc: list[str]) -> None:
    container = [*CONTAINER, *proc]
    if not shutil.which("unshare") or subprocess.run([*container, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no PID namespaces")

    def inside(script: str, *arguments: str) -> str:
        command = [*container, sys.executable, "-c", script, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    assert inside(ASK, owner.process()) == "False"  # from inside: this very test
    assert not owner.gone(inside("from jokbo.runtime import owner; print(owner.process())"))
    own = (
        "from jokbo.runtime import owner; p = owner.process();"
        " print(owner.gone(p), owner.gone(p.replace(' 1 ', ' 7 ')))"
    )
    assert inside(own) == "False True"


def test_a_process_that_may_not_be_looked_at_is_not_known_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    named = _process(1)

    def hide(pid: int | str) -> tuple[str, str, str]:
        if pid == 1:
            raise FileNotFoundError  # as /proc does for those of others, mounted with hidepid
        return stat(pid)

    stat = owner._stat
    monkeypatch.setattr(owner, "_stat", hide)
    assert not owner.gone(named)


def test_without_proc_psutil_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*arguments: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(owner, "_stat", nothing)
    monkeypatch.setattr(owner.Path, "exists", lambda path: False)
    child = subprocess.Popen(["sleep", "60"])
    named = _process(child.pid)
    assert not owner.gone(named)
    child.kill()
    child.wait()
    assert owner.gone(named)


def test_a_folder_has_one_number_and_a_person_without_a_name_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = owner.whose(tmp_path / ".jokbo")
    assert owner.whose(tmp_path / ".jokbo") == first
    assert first[owner.FOLDER] == str(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert owner.whose(tmp_path / ".jokbo")[owner.PERSON] == "uid 12345"


def test_a_person_is_the_login_at_the_server_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    anns = owner.whose(tmp_path / ".jokbo")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    bobs = owner.whose(tmp_path / ".jokbo")
    assert (anns[owner.PERSON], bobs[owner.PERSON]) == ("ann", "bob")
    assert anns[owner.WHOSE] != bobs[owner.WHOSE]
