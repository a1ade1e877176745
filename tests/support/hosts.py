"""Two hosts on this machine: network namespaces with an address and a host name each, and a cable between them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

CABLE = "cable"  # the name of its network card on each host


class NoHosts(Exception):
    """None can be made here. The message says why."""


@dataclass(frozen=True)
class Host:
    """A network of its own, and the address by which the other reaches it."""

    name: str
    address: str

    def here(self, command: Sequence[str] = ()) -> list[str]:
        """Return the command that runs `command`, or what is put after it, on this host."""
        named = ["unshare", "--uts", "sh", "-c", f'hostname {self.name}; exec "$@"', "-"]
        return ["ip", "netns", "exec", self.name, *named, *command]

    def lose(self) -> None:
        """Kill every process of the host at once."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True
        )
        for pid in listed.stdout.split():
            os.kill(int(pid), signal.SIGKILL)


@contextmanager
def two() -> Iterator[tuple[Host, Host]]:
    """Yield two hosts, which are gone afterwards. Raises NoHosts."""
    one, other = (Host(f"jokbo-{os.getpid()}-{number}", f"10.77.0.{number}") for number in (1, 2))
    try:
        for host in (one, other):
            _ip("netns", "add", host.name)
        ends = ["name", CABLE, "netns", one.name, "type", "veth", "peer", "name", CABLE, "netns", other.name]
        _ip("link", "add", *ends)
        for host in (one, other):
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", CABLE)
            for link in ("lo", CABLE):
                _ip("-n", host.name, "link", "set", link, "up")
        yield one, other
    finally:
        for host in (one, other):
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True)


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NoHosts("there is no `ip`: install iproute2") from None
    except subprocess.CalledProcessError as error:
        raise NoHosts(f"network namespaces need root ({error.stderr.strip()})") from error
