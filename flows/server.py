"""A Prefect server for a user who runs none: local, quiet, and gone with the process that asked for it.

Prefect's own ephemeral server outlives a flow that is killed, and complains on the terminal when it stops;
this one hangs on the lifeline of flows.supervise and writes to a file.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

START_SECONDS = 120.0


def own_server() -> str | None:
    """The address of a server that the user has chosen, by environment or Prefect profile."""
    return PREFECT_API_URL.value()


@contextmanager
def server() -> Iterator[None]:
    """Inside, Prefect talks to the user's server if there is one, else to a temporary one."""
    if own_server():
        yield
        return
    log = Path(PREFECT_HOME.value()) / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    python = [sys.executable, "-m"]
    prefect = [
        *python,
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-services",
    ]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*python, "flows.supervise", *prefect],
            env={**os.environ, "PREFECT_UI_ENABLED": "false"},
            stdin=subprocess.PIPE,  # never closed here: what is logged last is sent when this process exits
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _await(f"{url}/health", process, log)
    with temporary_settings({PREFECT_API_URL: url}):
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"Prefect's server did not start: see {log}")
