"""How much memory this machine has left for a process: what is free, within the limits of Linux' control groups, by
which containers and Slurm hold a job to its share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
FILES = {  # limit, use, and in memory.stat the cached files that the kernel gives up first
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def left(groups: Path = GROUPS, own: Path = OWN) -> int:
    """Return the bytes that this process may still take before the kernel would have to end somebody."""
    return min([psutil.virtual_memory().available, *_by_group(groups, own)])


def _by_group(groups: Path, own: Path) -> Iterator[int]:
    """Yield what each control group that this process is in, or that holds it, leaves of its limit."""
    if not own.is_file():  # not on Linux
        return
    for line in own.read_text("utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, files = (groups / "memory", FILES[1]) if controllers else (groups, FILES[2])
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):  # a container may not see its own, only the top
            if folder.is_relative_to(top) and (limit := _number(folder / files[0])) is not None:
                used, cached = _number(folder / files[1]) or 0, _stat(folder / "memory.stat", files[2])
                yield max(0, limit - used + cached)


def _number(file: Path) -> int | None:
    """Return what a file of the kernel's says; None if it is not there, or says `max`."""
    text = file.read_text("utf-8").strip() if file.is_file() else ""
    return int(text) if text.isdecimal() else None


def _stat(file: Path, name: str) -> int:
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)
