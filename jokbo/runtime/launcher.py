"""The ranks of a training: starts them as processes of this machine, and tells a process which of them it is.

torchrun's ranks find each other through a server that listens on every interface, asks for no password and unpickles
what it is sent. These meet in a file that only their user can open, and talk over the loopback interface.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from jokbo.runtime.errors import InputError
from jokbo.runtime.interruption import polled

MEETING = "JOKBO_MEETING"  # set in each of several ranks alone: the file in which they meet, or OUTSIDE
OUTSIDE = "env://"  # whoever started the ranks says in torch's variables where they meet
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
AGENT = "TORCHELASTIC_RUN_ID"  # set by torchrun, whose ranks are its children and would outlive it if it is killed
LOOK_SECONDS = 0.1
GRACE_SECONDS = 30.0  # for the other ranks to end too, once one has
LOST = 74  # exit status of a rank that lost another: that one knows why
# what gloo, NCCL and torch's store say of a rank that no longer answers
SILENCE = (
    *("gloo/transport", "ncclRemoteError", "ncclSystemError"),
    *("likely closed", "recvValue failed", "sendBytes failed", "clients joined"),
)


def meeting() -> str | None:
    """Return where this rank meets the others: a file, or OUTSIDE; None where this process is not one of several."""
    return os.environ.get(MEETING)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rank() -> int:
    return int(os.environ["RANK"]) if meeting() else 0


def world() -> int:
    return int(os.environ["WORLD_SIZE"]) if meeting() else 1


def begun_elsewhere() -> bool:
    """Return whether another process begins and ends this one's work: its launcher, or rank 0 of ranks from outside."""
    return meeting() not in (None, OUTSIDE) or rank() > 0


def take_rank(kind: str, processes: int, *, trains: bool) -> bool:
    """Make this process the rank that `kind` of launcher made it; return whether there is work for it.

    What RANK says counts in a rank that `launch` started and, where `kind` is "external", in a training. Any other
    work is done by rank 0, alone. Raises InputError if a training lacks what an outside launcher must say.
    """
    if meeting():
        threading.Thread(target=_die_with_launcher, daemon=True).start()
        return True
    if kind != "external" or not (trains or "RANK" in os.environ):
        return True
    _check_outside(processes)
    if trains:
        os.environ[MEETING] = OUTSIDE
        if AGENT in os.environ:
            threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    return trains or os.environ["RANK"] == "0"


def _check_outside(processes: int) -> None:
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"compute.launcher is external, but {' and '.join(missing)} are not in the environment: start every rank "
            "with them (torchrun does), or set compute.launcher to own"
        )
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        if not os.environ[name].isdecimal():
            raise InputError(f"{name} in the environment is {os.environ[name]!r}: it must be a whole number")
    if int(os.environ["WORLD_SIZE"]) != processes:
        raise InputError(
            f"compute.processes is {processes}, but WORLD_SIZE in the environment is {os.environ['WORLD_SIZE']}: make "
            "them equal"
        )
    if int(os.environ["RANK"]) >= processes:
        raise InputError(
            f"RANK in the environment is {os.environ['RANK']}: it must be below WORLD_SIZE, {processes}"
        )


def _die_with_launcher() -> None:
    """Die with the launcher: one that was killed cannot stop its ranks, and standard input ends with it."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def _die_with_parent(parent: int) -> None:
    """Die when another process takes this one's parent's place: the parent has ended."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def launch(command: Sequence[str], ranks: int) -> int:
    """Run the command as so many ranks until all have ended. Returns 0, or the status of the first that failed.

    A stop signal is handed on to each, so that they save. Rank 0 is heard as it speaks; another only if it was the
    first to fail, and not of what rank 0 failed of as well.
    """
    with tempfile.TemporaryDirectory(prefix="jokbo-") as folder, polled() as stop:
        started: list[subprocess.Popen[bytes]] = []
        logs = [Path(folder) / f"rank-{rank}.log" for rank in range(ranks)]
        try:
            for rank in range(ranks):
                started.append(_start(command, rank, ranks, Path(folder), logs[rank]))
            told = False
            while not any(statuses := _statuses(started)):
                if None not in statuses:
                    return 0
                if stop.requested and not told:
                    told = True
                    _terminate(started)
                time.sleep(LOOK_SECONDS)
            if set(statuses) <= {None, 0, LOST}:  # whom it lost is about to end
                _wait(started)
                statuses = _statuses(started)
            first = min(filter(None, statuses), key=_weight)
            culprit = statuses.index(first)
            _wait(started)
            if not told:
                _terminate(started)
                _wait(started)
        finally:
            for process in started:
                process.kill()
                process.wait()
        if culprit and (first < 0 or started[0].returncode != first):
            print(logs[culprit].read_text(errors="replace"), end="", file=sys.stderr, flush=True)
        if first < 0 and not told:
            name = signal.Signals(-first).name
            memory = ": is there memory enough?" if name == "SIGKILL" else ""
            print(f"jokbo: rank {culprit} was killed by {name}{memory}", file=sys.stderr, flush=True)
        return first if first > 0 else 128 - first


def _start(command: Sequence[str], rank: int, ranks: int, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, MEETING: folder / "meeting"}
    threads = {"OMP_NUM_THREADS": str(max(1, cores() // ranks))}
    with open(log, "wb") as file:
        return subprocess.Popen(
            command,
            env={**threads, **os.environ, **{name: str(value) for name, value in variables.items()}},
            stdin=subprocess.PIPE,  # its other end closes when this process ends, however it ends
            stdout=file if rank else None,
            stderr=subprocess.STDOUT if rank else None,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which hands it on once
        )


def _statuses(started: list[subprocess.Popen[bytes]]) -> list[int | None]:
    return [process.poll() for process in started]


def _weight(status: int) -> int:
    """Return the order of causes among those that ended at once: bad input, a kill, an error, what it led to."""
    return 0 if status == 2 else 1 if status < 0 else 3 if status == LOST else 2


def _terminate(started: list[subprocess.Popen[bytes]]) -> None:
    for process in started:
        if process.poll() is None:
            process.terminate()


def _wait(started: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    while None in _statuses(started) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def lost(error: BaseException) -> str | None:
    """Return one line of an error that says that another rank no longer answers; None if it says something else."""
    text = " ".join(str(error).split())
    if meeting() is None or not any(words in text for words in SILENCE):
        return None
    reason = re.sub(r"^\[\S+\] ", "", text).partition(". ")[0][:200]  # gloo names its source first
    again = "run the same command on every host" if meeting() == OUTSIDE else "run the same command"
    return (
        f"rank {rank()} of {world()} lost another one ({reason}): that one, its host or the network ended: "
        f"{again}, and it goes on from the last checkpoint"
    )


def choose_network() -> None:
    """Have the ranks of one machine talk over its loopback interface, whatever the environment asks for, and a process
    alone forget what a launcher of something else left there.

    Ranks from outside talk over the interface that leads to MASTER_ADDR, unless the environment names another: gloo
    takes that of the host's own name, which is often loopback. InputError if MASTER_ADDR is this host to itself alone.
    """
    loopback = _interface_with("127.0.0.1")
    if meeting() == OUTSIDE:
        found = _interface_to(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        several = int(os.environ.get("LOCAL_WORLD_SIZE") or world()) < world()
        if several and found == loopback and "GLOO_SOCKET_IFNAME" not in os.environ:
            raise InputError(
                f"MASTER_ADDR in the environment is {os.environ['MASTER_ADDR']}, which here is this host alone: give "
                "the address by which the other hosts reach it"
            )
        if found:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", found)
        return
    assert loopback is not None
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = loopback
    if not meeting():
        for name in (*VARIABLES, "OMPI_COMM_WORLD_LOCAL_RANK"):
            os.environ.pop(name, None)
        os.environ["LOCAL_RANK"] = "0"  # DeepSpeed reads it


def _interface_to(host: str, port: int) -> str | None:
    """Return the name of the interface by which this host reaches another; None if that can't be known."""
    with suppress(OSError):
        family, kind, _, _, there = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(there)  # sends nothing
            return _interface_with(probe.getsockname()[0])
    return None


def _interface_with(address: str) -> str | None:
    """Return the name of this host's interface that has the address. All of 127/8 is loopback's."""
    found = "127.0.0.1" if address.startswith("127.") else address
    interfaces = psutil.net_if_addrs().items()
    return next((name for name, each in interfaces if any(one.address == found for one in each)), None)
