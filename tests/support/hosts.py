"""Two hosts on this machine: network namespaces with an address each, and a cable between them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

ADDRESSES = ("10.77.0.1", "10.77.0.2")


@dataclass(frozen=True)
class Host:
    """A network of its own, with the other one's address to reach."""

    name: str
    address: str

    def here(self, command: list[str]) -> list[str]:
        """Return the command that runs `command` on this host, which has a host name of its own too."""
        named = ["unshare", "--uts", "sh", "-c", f'hostname {self.name}; exec "$@"', "-"]
        return ["ip", "netns", "exec", self.name, *named, *command]

    def lose(self) -> None:
        """Kill every process of the host at once."""
        pids = subprocess.run(
            ["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True
        ).stdout
        for pid in map(int, pids.split()):
            os.kill(pid, 9)


@contextmanager
def two() -> Iterator[tuple[Host, Host]]:
    """Yield two hosts. The test is skipped where none can be made."""
    one, other = (Host(f"jokbo-{os.getpid()}-{number}", address) for number, address in enumerate(ADDRESSES))
    try:
        for host in (one, other):
            _ip("netns", "add", host.name)
        ends = [
            "eth-jokbo",
            "netns",
            one.name,
            "type",
            "veth",
            "peer",
            "name",
            "eth-jokbo",
            "netns",
            other.name,
        ]
        _ip("link", "add", *ends)
        for host in (one, other):
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth-jokbo")
            for link in ("lo", "eth-jokbo"):
                _ip("-n", host.name, "link", "set", link, "up")
        yield one, other
    finally:
        for host in (one, other):
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True)


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no `ip`: install iproute2")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here ({error.stderr.strip()}): they need root")
