"""`python -m flows.supervise COMMAND...` runs a command that cannot outlive whoever asked for it.

Standard input is its lifeline: when that ends, because the flow was cancelled or killed in any way, or on
SIGTERM, every process that the command started is told to stop, and killed if it doesn't. So is what is left
when the command itself is killed: training would go on unseen, beside the next attempt. When it is the
supervisor that is killed, the flow does the same in its place; when both are, a stage sees to it itself
(interruption.hold_lifeline), and whatever is still there is ended by the next flow in the folder.

Such processes are known by a mark in their environment, which is there from their first moment and stays when
their parent dies. A process group would miss the ranks of a training, which have sessions of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil

from jokbo.runtime.interruption import GRACE_SECONDS, LIFELINE, SIGNALS, Interrupted, raising

MARK = (
    "JOKBO_SUPERVISED"  # a line for each supervisor above a process: an id, a blank, the folder it works in
)
LOOK_SECONDS = 0.5  # how often `stopping` is asked, and whether the supervisor still lives


def follow(
    command: list[str],
    environment: Mapping[str, str],
    line: Callable[[str], None],
    stopping: Callable[[], bool],
    folder: Path = Path(),
) -> int:
    """Run the command in the folder, under supervision, hand every line it prints to `line`, and return its exit
    status.

    It is stopped when `stopping` says so and when anything is raised here: hence the waiting in short pieces.
    """
    id = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.supervise", *command],
        cwd=folder,
        env={**environment, MARK: f"{environment.get(MARK, '')}\n{id} {folder.resolve()}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches the flow alone, which then lets go of the lifeline
    )

    lifeline, output = process.stdin, process.stdout
    assert lifeline is not None
    assert output is not None

    def left() -> set[psutil.Process]:
        return marked(id)

    ending, rest = threading.Thread(target=end, args=(left,)), b""
    try:
        while True:
            if stopping():
                lifeline.close()
            if process.poll() is not None and not ending.ident:
                ending.start()  # if it was killed, what it started runs on
            if not select.select([output], [], [], LOOK_SECONDS)[0]:
                if ending.ident and not ending.is_alive():
                    return process.wait()
                continue
            block = os.read(output.fileno(), 65536)
            if not block:
                return process.wait()
            *lines, rest = re.split(rb"[\r\n]+", rest + block)
            for text in lines:
                line(text.decode(errors="replace"))
    finally:
        lifeline.close()
        threading.Thread(target=output.read, daemon=True).start()  # nothing waits for room in the pipe
        process.wait()
        end(left)


def supervise(command: list[str]) -> int:
    """Run the command to its end or to that of the lifeline (standard input). Returns its exit status."""
    mark = os.environ.get(MARK) or uuid.uuid4().hex
    environment = {**os.environ, MARK: mark, LIFELINE: str(os.getpid())}
    ended, write = os.pipe()
    child = None
    with contextlib.suppress(Interrupted), raising():
        child = subprocess.Popen(command, env=environment)
        threading.Thread(target=lambda: (child.wait(), os.close(write)), daemon=True).start()
        lifeline = sys.stdin.fileno()
        while ended not in (ready := select.select([ended, lifeline], [], [])[0]):
            if ready and not os.read(lifeline, 1):
                break
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # being told once more changes nothing
    end(lambda: marked(mark.splitlines()[-1].partition(" ")[0]), first=child)
    return child.wait() if child else -signal.SIGTERM


def end(found: Callable[[], set[psutil.Process]], first: subprocess.Popen | None = None) -> None:
    """Tell every process that is found to stop, `first` before the others, and kill what does not, until none is."""
    # the command first: DVC, if told after its stage, may die while it writes down that the stage has ended
    tree = sorted(found(), key=lambda process: not first or process.pid != first.pid)
    for process in tree:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _await(tree, GRACE_SECONDS)
    deadline = time.monotonic() + GRACE_SECONDS
    while (stubborn := found()) and time.monotonic() < deadline:
        for process in stubborn:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.05)


def sweep(folder: Path) -> None:
    """End what a flow that is gone left running in this folder. Call it only while no other flow can run there."""

    def orphans() -> set[psutil.Process]:
        return marked(str(folder.resolve())) - set(psutil.Process().children(recursive=True))

    if found := orphans():
        pids = ", ".join(str(pid) for pid in sorted(process.pid for process in found))
        print(f"jokbo: an earlier run is not quite gone: ending it (PID {pids})", file=sys.stderr, flush=True)
        _await(filter(_supervises, found), 2 * GRACE_SECONDS)  # they see to it, and in good order
        end(orphans)


def marked(part: str) -> set[psutil.Process]:
    """Return the processes one of whose marks has this id or this folder, and what they have started; never this one or
    one above it.
    """
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            marks = process.environ().get(MARK, "").splitlines()
            if any(part in mark.split(" ", 1) for mark in marks):
                found |= {process, *process.children(recursive=True)}
    this = psutil.Process()
    return {process for process in found - {this, *this.parents()} if _lives(process)}


def _await(processes: Iterable[psutil.Process], seconds: float) -> None:
    deadline, processes = time.monotonic() + seconds, list(processes)
    while any(map(_lives, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _supervises(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()[1:3] == ["-m", "flows.supervise"]
    return False


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
