"""Whose an MLflow run is (a person's, on a host, in a folder), and which process writes it."""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
import uuid
from contextlib import suppress
from pathlib import Path

import psutil

PERSON, HOST, FOLDER = "mlflow.user", "jokbo.host", "jokbo.folder"  # tags; MLflow shows the first as User
WHOSE = "jokbo.whose"  # tag: the three and the folder's own number in one, to search for
PROCESS = "jokbo.process"  # tag: the process that writes the run


def whose(state: Path) -> dict[str, str]:
    """Return the tags that say whose a run of the project with this .jokbo is.

    Two containers may be alike in person, host and path: a number that is made once a folder tells them apart.
    """
    folder = str(state.resolve().parent)
    parts = {PERSON: _person(), HOST: socket.gethostname(), FOLDER: folder}
    digest = hashlib.sha256("\0".join([*parts.values(), _number(state)]).encode()).hexdigest()
    return parts | {WHOSE: digest[:32]}


def process() -> str:
    """Return this process as others may know it: host, boot, PID namespace, pid, and start in ticks since the boot.

    No clock is in it that somebody can set, and a pid that is taken again has another start.
    """
    return " ".join([*_machine(), str(os.getpid()), _start(os.getpid()) or "-"])


def gone(process: str) -> bool:
    """Return whether that process is certainly no more. False for those of other machines, boots and PID namespaces."""
    parts = process.split(" ")
    if len(parts) != 5 or parts[:3] != _machine() or not parts[3].isdecimal():
        return False  # of another, or written by something else
    pid, start = parts[3:]
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's, and there
    found = _start(int(pid))
    return found is not None and found != start


def _person() -> str:
    if login := os.environ.get("MLFLOW_TRACKING_USERNAME"):  # who many are in containers, where all are root
        return login
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number without a name
        return f"uid {os.getuid()}"


def _number(state: Path) -> str:
    file = state / "folder"
    with suppress(FileNotFoundError):
        return file.read_text(errors="replace")
    state.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".folder-{uuid.uuid4().hex}")
    partial.write_text(uuid.uuid4().hex)
    try:
        os.link(partial, file)
    except FileExistsError:  # another stage was first
        pass
    except OSError:  # a disk without hard links
        partial.replace(file)
    partial.unlink(missing_ok=True)
    return file.read_text(errors="replace")


def _machine() -> list[str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return [socket.gethostname(), boot, os.readlink("/proc/self/ns/pid")]
    except OSError:  # macOS
        return [socket.gethostname(), "-", "-"]


def _start(pid: int) -> str | None:
    """Return when a process started; "ended" for one that nobody has waited for yet; None if that can't be known."""
    try:
        fields = _stat(pid)
        if _stat("self")[0] != str(os.getpid()):  # /proc is another PID namespace's
            return None
        return "ended" if fields[1] in "ZX" else fields[2]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None  # hidden from us (hidepid)
    except OSError:
        return None
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _stat(pid: int | str) -> tuple[str, str, str]:
    """Return pid, state and start from /proc/PID/stat; the name between may hold blanks and brackets."""
    number, _, rest = Path(f"/proc/{pid}/stat").read_text().partition(" ")
    fields = rest.rpartition(")")[2].split()
    return number, fields[0], fields[19]
