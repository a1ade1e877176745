"""Ranks start together, end together, and say what went wrong once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jokbo.runtime import launcher
from tests.conftest import until

ROOT = Path(__file__).parents[2]
LAUNCH = """
import os, sys
from jokbo.runtime import launcher
launcher.GRACE_SECONDS = float(os.environ.get("GRACE", "60"))
sys.exit(launcher.launch(sys.argv[1:], 2))
"""
RANK = """
import os, signal, sys, time
from pathlib import Path
from jokbo.runtime import launcher
launcher.take_rank("own", 2, trains=True)
rank = launcher.rank()

def asleep():
    Path(f"pid-{rank}").write_text(str(os.getpid()))
    time.sleep(3600)

def fault(status):
    print(f"fault of {rank}", file=sys.stderr, flush=True)
    sys.exit(status)
"""


def started(folder: Path, script: str, **environment: str) -> subprocess.Popen[str]:
    (folder / "rank.py").write_text(RANK + script)
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, sys.executable, "rank.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate()
    return process.returncode, output, errors


def pids(folder: Path) -> list[int]:
    files = [folder / "pid-0", folder / "pid-1"]
    until(lambda: all(file.exists() and file.read_text() for file in files))
    return [int(file.read_text()) for file in files]


def test_each_knows_its_rank_and_the_first_alone_is_heard(tmp_path: Path) -> None:
    said = (
        "print(rank, launcher.world(), Path(launcher.meeting()).parent.stat().st_mode & 0o777 == 0o700)\n"
        "Path(f'was-{rank}').touch()"
    )
    assert ended(started(tmp_path, said, RANK="7", WORLD_SIZE="9")) == (0, "0 2 True\n", "")
    assert (tmp_path / "was-0").exists()
    assert (tmp_path / "was-1").exists()


def test_what_all_fail_of_is_said_once(tmp_path: Path) -> None:
    assert ended(started(tmp_path, "fault(2)")) == (2, "", "fault of 0\n")


@pytest.mark.parametrize("culprit", [0, 1])
def test_the_first_to_fail_ends_the_others_and_is_heard(tmp_path: Path, culprit: int) -> None:
    """The other has heard of the stop and shows no fault of its own."""
    other = "signal.signal(signal.SIGTERM, lambda *_: os._exit(143)); time.sleep(3600)"
    script = f"if rank == {culprit}: fault(3)\nelse: {other}"
    process = started(tmp_path, script, GRACE="1")
    assert ended(process) == (3, "", f"fault of {culprit}\n")


def test_a_rank_that_was_killed_is_named(tmp_path: Path) -> None:
    process = started(tmp_path, "asleep()", GRACE="1")
    os.kill(pids(tmp_path)[1], signal.SIGKILL)
    status, _, errors = ended(process)
    assert status == 128 + signal.SIGKILL
    assert errors == "jokbo: rank 1 was killed by SIGKILL: is there memory enough?\n"


def test_a_rank_that_lost_another_is_not_the_cause(tmp_path: Path) -> None:
    script = "if rank == 0: fault(launcher.LOST)\ntime.sleep(0.5)\nfault(3)"
    assert ended(started(tmp_path, script)) == (3, "", "fault of 0\nfault of 1\n")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "[/pytorch/gloo/transport/tcp/pair.cc:537] Read error [10.0.0.2]:8408: Connection reset by peer. This is "
            "typically caused by",
            "rank 1 of 2 lost another one (Read error [10.0.0.2]:8408: Connection reset by peer): that one, its host "
            "or the network ended: run the same command on every host, and it goes on from the last checkpoint",
        ),
        ("mat1 and mat2 shapes cannot be multiplied", None),
    ],
)
def test_an_error_of_a_lost_rank_is_told_from_others(
    monkeypatch: pytest.MonkeyPatch, said: str, shown: str | None
) -> None:
    for name, value in {launcher.MEETING: launcher.OUTSIDE, "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert launcher.lost(RuntimeError(said)) == shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_every_rank_and_its_status_comes_back(tmp_path: Path, number: signal.Signals) -> None:
    script = """
def stopped(*_):
    print("saved", rank)
    Path(f"saved-{rank}").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, stopped)
asleep()
"""
    process = started(tmp_path, script)
    pids(tmp_path)
    process.send_signal(number)
    assert ended(process) == (143, "saved 0\n", "")
    assert (tmp_path / "saved-1").exists()


def test_no_rank_outlives_a_launcher_that_was_killed(tmp_path: Path) -> None:
    process = started(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); asleep()")
    ranks = [psutil.Process(pid) for pid in pids(tmp_path)]
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(ranks)
    assert not alive
