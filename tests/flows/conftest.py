"""One Prefect server for all tests of the flow: starting one takes longer than most of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Project

SERVER = """
import sys
from prefect.settings import PREFECT_API_URL
from flows.server import server
with server():
    print(PREFECT_API_URL.value(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server."""
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect"))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SERVER], env=environment, **pipes) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture
def served(project: Project, api: str, tmp_path: Path) -> Project:
    """A project whose user runs a Prefect server."""
    project.environment.update(PREFECT_API_URL=api, PREFECT_HOME=str(tmp_path))
    return project


def alive(folder: Path) -> list[psutil.Process]:
    """The processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            inside = Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if inside and process.pid != os.getpid():
            found.append(process)
    return found


def outcomes(output: str) -> dict[str, str]:
    """Return the state of each stage from the table at the end."""
    rows = [line.split("│")[1:3] for line in output.splitlines() if line.startswith("│")]
    return {name.strip(): outcome.strip() for name, outcome in rows}
