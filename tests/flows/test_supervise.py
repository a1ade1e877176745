"""A supervised command, and whatever it started, ends with whoever asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from flows import supervise
from flows.supervise import follow
from tests.conftest import until

# a child in a session of its own, as torchrun gives its workers; its pid is told, then both sleep
PARENT = """
import subprocess, sys, time
code = "import time; time.sleep(3600)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
print(child.pid, flush=True)
time.sleep(3600)
"""


def _supervised(code: str = PARENT) -> tuple[subprocess.Popen, psutil.Process]:
    """The supervisor of a command, and the child of that command."""
    command = [sys.executable, "-m", "flows.supervise", sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    supervisor = subprocess.Popen(command, **pipes)
    return supervisor, psutil.Process(int(supervisor.stdout.readline()))


def _until_there_is(path: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Supervises, in this process, a command whose lifeline ends once it has made the file; its exit status."""
    read, write = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(read))
    threading.Thread(target=lambda: (until(path.exists), os.close(write))).start()
    return supervise.supervise([sys.executable, "-c", code])


def _gone(process: psutil.Process | int) -> bool:
    try:
        process = psutil.Process(process) if isinstance(process, int) else process
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _supervisors() -> list[psutil.Process]:
    children = [process for process in psutil.Process().children() if not _gone(process)]
    return [process for process in children if process.cmdline()[1:3] == ["-m", "flows.supervise"]]


@pytest.mark.parametrize("end", ["lifeline", "sigterm", "command killed"])
def test_nothing_outlives_the_end(end: str) -> None:
    supervisor, grandchild = _supervised()
    if end == "lifeline":
        supervisor.stdin.close()
    elif end == "sigterm":
        supervisor.terminate()
    else:
        grandchild.parent().kill()
    until(lambda: _gone(grandchild))
    assert supervisor.wait() != 0


def test_the_command_is_told_before_what_it_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Otherwise it would see its child's end, and go on to what comes after."""
    told: list[bool] = []
    terminate = psutil.Process.terminate

    def spied(process: psutil.Process) -> None:
        told.append(process.ppid() == os.getpid())
        terminate(process)

    monkeypatch.setattr(psutil.Process, "terminate", spied)
    started = tmp_path / "started"
    code = f"""
import pathlib, subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) for _ in range(8)]
pathlib.Path({str(started)!r}).touch()
time.sleep(3600)
"""
    _until_there_is(started, code, monkeypatch)
    assert told == [True] + 8 * [False]


def test_a_process_that_will_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supervise, "GRACE_SECONDS", 0.5)
    deaf = tmp_path / "deaf"
    code = f"""
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({str(deaf)!r}).touch()
time.sleep(3600)
"""
    assert _until_there_is(deaf, code, monkeypatch) == -signal.SIGKILL


def test_follow_gives_lines_and_status() -> None:
    lines: list[str] = []
    code = "import sys; print('one'); print('a\\rb'); print('naïve', file=sys.stderr); sys.exit(7)"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    assert follow([sys.executable, "-c", code], environment, lines.append, lambda: False) == 7
    assert lines == ["one", "a", "b", "naïve"]


def test_follow_stops_when_told_to() -> None:
    lines: list[str] = []
    status = follow([sys.executable, "-c", PARENT], os.environ, lines.append, lambda: bool(lines))
    assert status != 0
    assert _gone(int(lines[0]))


def test_follow_stops_the_command_when_something_is_raised_here() -> None:
    lines: list[str] = []

    def line(text: str) -> None:
        lines.append(text)
        raise ValueError("a timeout, say")

    with pytest.raises(ValueError, match="a timeout, say"):
        follow([sys.executable, "-c", PARENT], os.environ, line, lambda: False)
    assert _gone(int(lines[0]))


@pytest.mark.parametrize("when", ["at its start", "later"])
def test_what_a_killed_supervisor_leaves_is_ended_by_whoever_follows(when: str) -> None:
    lines: list[str] = []

    def line(text: str) -> None:
        lines.append(text)
        kill()

    def stopping() -> bool:
        if when == "at its start":
            kill()
        return False

    def kill() -> None:
        for supervisor in _supervisors():
            supervisor.kill()

    # it goes on to print, so that its follower is never idle
    code = PARENT.replace("time.sleep(3600)\n", "[(time.sleep(0.1), print('on')) for _ in range(6000)]\n")
    assert follow([sys.executable, "-u", "-c", code], os.environ, line, stopping) == -signal.SIGKILL
    assert not lines or _gone(int(lines[0]))


# a flow, whose stage tells its pid and does not know of any supervisor but by its lifeline
FLOW = """
import os, sys
from flows.supervise import follow
stage = "import os, time; from jokbo.runtime.interruption import hold_lifeline; hold_lifeline();"
stage += "print(os.getpid(), os.getppid(), flush=True); time.sleep(3600)"
follow([sys.executable, "-c", sys.argv[1] or stage], os.environ, lambda text: print(text, flush=True), bool)
"""


def _flow(stage: str = "") -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A flow, and the processes of which its stage has told."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    flow = subprocess.Popen([sys.executable, "-c", FLOW, stage], **pipes)
    return flow, [psutil.Process(int(pid)) for pid in flow.stdout.readline().split()]


def test_a_stage_outlives_not_even_flow_and_supervisor_together() -> None:
    flow, (stage, supervisor) = _flow()
    supervisor.suspend()  # a supervisor that cannot act, until both are gone
    flow.kill()
    supervisor.kill()
    until(lambda: _gone(stage))


def test_the_next_flow_ends_what_an_earlier_one_left_and_nothing_else(
    capfd: pytest.CaptureFixture[str],
) -> None:
    deaf = "import os, time; print(os.getpid(), os.getppid(), flush=True); time.sleep(3600)"
    flow, (stage, supervisor) = _flow(deaf)
    # as a server of the flow's own, where that is itself supervised
    environment = {**os.environ, supervise.MARK: f"1 {Path().resolve()}"}
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], env=environment)
    supervisor.suspend()
    flow.kill()
    supervisor.kill()
    until(lambda: _gone(supervisor))
    assert not _gone(stage)
    supervise.sweep(Path("elsewhere"))
    assert not _gone(stage)
    supervise.sweep(Path())
    assert _gone(stage)
    assert other.poll() is None
    assert f"ending it (PID {stage.pid})" in capfd.readouterr().err
    other.kill()
