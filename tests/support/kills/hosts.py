"""`hosts`: what trains does so in two ranks on two hosts, as docs/scale.md says; a rank is killed, or a whole host.

The hosts are network namespaces of this machine that share the project's folder. After a host was lost the same command
is typed on both.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from tests.support import hosts
from tests.support.kills.round import FLOW, Harm, NotHere, Round, running_of
from tests.support.miniature import ROOT
from tests.support.tracker import free_port

LOSES = 0.3  # how often it is a whole host
PATIENCE_SECONDS = 60.0  # after one host's command has ended, before somebody presses Ctrl-C on the other


class Hosts(Round):
    """A round on two hosts."""

    @staticmethod
    def params() -> dict[str, str]:
        return {"processes": "2", "zero_stage": "2"}

    @contextmanager
    def around(self, make: Callable[[Path], Path]) -> Iterator[None]:
        make(self.folder)
        self.alone_since: float | None = None
        text = (self.folder / "params.yaml").read_text()
        (self.folder / "params.yaml").write_text(text.replace("launcher: own", "launcher: external"))
        try:
            with hosts.two() as self.hosts:
                yield
        except hosts.NoHosts as why:
            raise NotHere(str(why)) from why

    def typed(self) -> Iterator[list[list[str]]]:
        first, second = self.hosts
        for stage in YAML(typ="safe").load(self.folder / "dvc.yaml")["stages"]:
            if "parallel=True" not in (self.folder / "tasks" / f"{stage}.py").read_text():
                yield [first.here([sys.executable, "-m", "flows.dvc", "repro", "--single-item", stage])]
                continue
            train = ["sh", str(ROOT / "deploy/torchrun.sh"), stage, "2"]
            yield [first.here([*train, "0", first.address]), second.here([*train, "1", first.address])]

    def succeeded(self, statuses: list[int]) -> bool:
        """Return whether the first host, which has told DVC that the stage has ended, ended well."""
        return statuses[0] == 0

    def surroundings(self) -> dict[str, str]:
        return {**super().surroundings(), "PYTHON": sys.executable, "MASTER_PORT": str(free_port())}

    def harm(self, victims: list[psutil.Process]) -> Harm | None:
        if self.draw.random() > LOSES:
            return super().harm(victims)
        number = self.draw.choice([0, 1])
        self.hosts[number].lose()
        return Harm(f"host {number} lost")

    def tend(self) -> None:
        """Press Ctrl-C where a command waits for one that has ended."""
        left = running_of(self.running)
        if not left or len(left) == len(self.running):
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = time.monotonic()
        elif time.monotonic() - self.alone_since > PATIENCE_SECONDS:
            os.killpg(left[0].pid, signal.SIGINT)
            self.alone_since = time.monotonic()

    def again(self) -> list[str]:
        return self.hosts[0].here(FLOW)
