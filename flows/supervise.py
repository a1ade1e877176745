"""`python -m flows.supervise COMMAND...` runs a command that cannot outlive whoever asked for it.

Standard input is its lifeline: when that ends, because the flow was cancelled or killed in any way, or on
SIGTERM, every process that the command started is told to stop, and killed if it doesn't. So is what is left
when the command itself is killed: training would go on unseen, beside the next attempt. Killing a process
group would miss the workers of torchrun, which gives them sessions of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Mapping

import psutil

from jokbo.training.interruption import Interrupted, raising

GRACE_SECONDS = 30.0  # for a training to save its checkpoint
LOOK_SECONDS = 0.5  # how often the tree is looked at: a child must be seen before its parent dies


def follow(
    command: list[str],
    environment: Mapping[str, str],
    line: Callable[[str], None],
    stopping: Callable[[], bool],
) -> int:
    """Run the command under supervision, hand every line it prints to `line`, and return its exit status.

    It is stopped when `stopping` says so and when anything is raised here: hence the waiting in short pieces.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.supervise", *command],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches the flow alone, which then lets go of the lifeline
    )
    rest = b""
    try:
        while True:
            if stopping():
                process.stdin.close()
            if not select.select([process.stdout], [], [], LOOK_SECONDS)[0]:
                continue
            block = os.read(process.stdout.fileno(), 65536)
            if not block:
                return process.wait()
            *lines, rest = re.split(rb"[\r\n]+", rest + block)
            for text in lines:
                line(text.decode(errors="replace"))
    finally:
        process.stdin.close()
        process.stdout.read()
        process.wait()


def supervise(command: list[str]) -> int:
    """Run the command to its end or to that of the lifeline (standard input). Returns its exit status."""
    child = psutil.Popen(command, stdin=subprocess.DEVNULL)
    ended, seen = os.pidfd_open(child.pid), {child}
    with contextlib.suppress(Interrupted), raising():
        while ended not in (ready := select.select([ended, sys.stdin], [], [], LOOK_SECONDS)[0]):
            seen |= _offspring(seen)
            if ready and not os.read(sys.stdin.fileno(), 1):
                break
    _stop(child, seen)
    return child.wait()


def _offspring(processes: set[psutil.Process]) -> set[psutil.Process]:
    """Their descendants, by one look at the process table: asking each for its own would be a look for each."""
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process)
    found: set[psutil.Process] = set()
    waiting = [process.pid for process in processes if process.is_running()]
    while waiting:
        new = set(children.pop(waiting.pop(), [])) - found
        found |= new
        waiting += [process.pid for process in new]
    return found


def _stop(command: psutil.Process, seen: set[psutil.Process]) -> None:
    tree = [process for process in seen | _offspring(seen) if process.is_running()]
    # the command first: DVC, if told after its stage, may die while it writes down that the stage has ended
    tree.sort(key=lambda process: process != command)
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(tree, timeout=GRACE_SECONDS)
    for process in {*stubborn, *_offspring(set(stubborn))}:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
