"""`memory`: the pipeline is in a control group of Linux', as containers and Slurm's jobs are, whose limit runs out.

Whom to end then the kernel chooses: the largest process, by SIGKILL. Afterwards there is memory again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from jokbo.runtime.room import GROUPS
from tests.support.kills.round import FLOW, Harm, NotHere, Round, role, until

SECONDS = 20.0  # for which there is too little memory at most
ROOM = 2_000_000  # bytes that are left at most


class Memory(Round):
    """A round in a control group."""

    @contextmanager
    def around(self, make: Callable[[Path], Path]) -> Iterator[None]:
        make(self.folder)
        first = (GROUPS / "memory/cgroup.procs").exists()  # version 1 of control groups
        self.group = GROUPS / ("memory" if first else "") / f"jokbo-kills-{os.getpid()}"
        self.limit = self.group / ("memory.limit_in_bytes" if first else "memory.max")
        self.usage = self.group / ("memory.usage_in_bytes" if first else "memory.current")
        self.events = self.group / ("memory.oom_control" if first else "memory.events")
        self.no_limit = "-1" if first else "max"
        try:
            if not first:
                (GROUPS / "cgroup.subtree_control").write_text("+memory")
            self.group.mkdir()
        except OSError as error:
            raise NotHere(f"no control group can be made here ({error})") from error
        try:
            if not self.limit.exists():
                raise NotHere(f"{self.limit}: no such limit")
            yield
        finally:
            until(lambda: not self._pids(), "the control group is not empty")
            self.group.rmdir()

    def typed(self) -> Iterator[list[list[str]]]:
        inside = ["sh", "-c", f'echo $$ > {self.group}/cgroup.procs; exec "$@"', "-"]
        yield [[*inside, *FLOW]]

    def harm(self, victims: list[psutil.Process]) -> Harm | None:
        before, pids = self._ended(), self._pids()
        if not pids:
            return None
        names = {each.pid: role(each) for each in victims}
        room = self.draw.randint(0, ROOM)
        try:
            self._squeeze(room)
            with suppress(TimeoutError):
                until(lambda: self._ended() > before or not self._pids(), "nobody is ended", SECONDS)
        finally:
            self.ready()
        if self._ended() == before:
            return None
        living = {each.pid for each in self.alive()}
        gone = [name for pid, name in names.items() if pid not in living]
        return Harm(f"{', '.join(gone) or 'somebody'} ended by the kernel: no memory")

    def ready(self) -> None:
        self.limit.write_text(self.no_limit)

    def _squeeze(self, room: int) -> None:
        """Set the limit to what is used, and so much; the kernel gives up what it can first."""
        for _ in range(50):
            with suppress(OSError):  # EBUSY: used meanwhile
                self.limit.write_text(str(int(self.usage.read_text()) + room))
                return

    def _pids(self) -> list[str]:
        return (self.group / "cgroup.procs").read_text().split()

    def _ended(self) -> int:
        """Return how many processes the kernel has ended in the group."""
        lines = dict(line.split() for line in self.events.read_text().splitlines())
        return int(lines["oom_kill"])
