"""`worker`: the flow is a deployment on a Prefect server, and runs in a work pool's worker (docs/deployments.md).

Workers, flows and stages are killed. A worker that has ended is started again, as systemd would, and a flow run that
has ended without success is triggered again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import httpx
import psutil

from tests.support.kills.round import MARK, Round, marked, role, until
from tests.support.tracker import free_port

POOL = "kills"
PREFECT = (sys.executable, "-m", "prefect")


class Worker(Round):
    """A round in a worker."""

    @contextmanager
    def around(self, make: Callable[[Path], Path]) -> Iterator[None]:
        self.worker: subprocess.Popen | None = None
        self.tried = f"{self.mark}-trigger"  # what is typed is no victim: it only watches
        make(self.folder)
        home = self.folder.parent / f"{self.folder.name}.prefect"
        url = f"http://127.0.0.1:{(port := free_port())}"
        self.served = {**self.environment, "PREFECT_API_URL": f"{url}/api", "PREFECT_HOME": str(home)}
        self.served["PREFECT_WORKER_QUERY_SECONDS"] = "1"
        server = [*PREFECT, "server", "start", "--no-ui", "--port", str(port)]
        log = self.folder.with_suffix(".server.log").open("w")
        with log, subprocess.Popen(server, env=self.served, stdout=log, stderr=log) as process:
            try:
                until(lambda: answers(f"{url}/api/health"), "Prefect's server does not answer")
                until(lambda: self._registers(log), "nothing can be registered")
                yield
                self._stop_worker()
            finally:
                for each in marked(self.mark):
                    each.kill()
                process.terminate()

    def _registers(self, log: TextIO) -> bool:
        register = [sys.executable, "-m", "flows.deployments", "register", "--pool", POOL]
        made = subprocess.run(register, cwd=self.folder, env=self.served, stdout=log, stderr=log)
        return made.returncode == 0

    def typed(self) -> Iterator[list[list[str]]]:
        name = f"chain/{self.folder.name}-nightly"
        yield [[*PREFECT, "deployment", "run", name, "--watch", "--watch-interval", "1"]]

    def surroundings(self) -> dict[str, str]:
        return {**self.served, MARK: self.tried}

    def tend(self) -> None:
        if self.worker is None or self.worker.poll() is not None:
            command = [sys.executable, "-m", "flows.deployments", "work", "--pool", POOL]
            with self.folder.with_suffix(".worker.log").open("a") as log:
                self.worker = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env={**self.served, MARK: self.mark},
                    stdout=log,
                    stderr=log,
                )

    def wait_for_orphans(self) -> None:
        """Wait until the worker alone is left."""
        until(lambda: not self._flows(), f"processes outlive their flow: {self.kills[-1:]} {self._flows()}")

    def _flows(self) -> list[psutil.Process]:
        return [each for each in self.alive() if self.worker is None or each.pid != self.worker.pid]

    def _stop_worker(self) -> None:
        if self.worker is not None:
            self.worker.terminate()
            self.worker.wait()
        self.faults += [f"outlives its worker: {role(each)}" for each in marked(self.mark)]


def answers(url: str) -> bool:
    """Return whether a server answers there, and is well."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False
