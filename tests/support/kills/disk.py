"""`disk`: the project is on a small disk, which somebody else fills up; later there is room again.

The disk is a tmpfs; temporary files are on it too. A flow may end of it, in one line that says what to do; typed again
when there is room it goes on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.support.kills.round import Harm, NotHere, Round

SIZE = "1g"


class Disk(Round):
    """A round on a disk that fills up."""

    @contextmanager
    def around(self, make: Callable[[Path], Path]) -> Iterator[None]:
        self.disk, self.free_at = self.folder, 0.0
        self.disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self.disk)],
            capture_output=True,
            text=True,
        )
        if mounted.returncode:
            raise NotHere(f"no disk can be mounted here ({mounted.stderr.strip()})")
        try:
            self.folder = self.disk / "project"
            temporary = self.disk / "tmp"
            temporary.mkdir()
            self.environment = {**self.environment, "TMPDIR": str(temporary)}
            make(self.folder)
            yield
        finally:
            self.folder = self.disk
            subprocess.run(["umount", "--lazy", str(self.disk)], check=True)

    def harm(self, victims: list[psutil.Process]) -> Harm | None:
        """Fill the disk but for some bytes, for some seconds."""
        if self.free_at:
            return None
        room = self.draw.choice([0, 4096, 100_000, 1_000_000])
        with (self.disk / "ballast").open("wb") as file:
            for _ in range(50):
                with suppress(OSError):  # somebody wrote meanwhile
                    size = shutil.disk_usage(self.disk).free - room
                    os.posix_fallocate(file.fileno(), 0, max(size, 1))
                    break
            else:
                return None
        self.free_at = time.monotonic() + (full := self.draw.expovariate(1 / self.mean_seconds))
        return Harm(f"disk full but for {room} bytes, for {full:.0f} s")

    def tend(self) -> None:
        if self.free_at and time.monotonic() > self.free_at:
            self.ready()

    def ready(self) -> None:
        (self.disk / "ballast").unlink(missing_ok=True)
        self.free_at = 0.0
