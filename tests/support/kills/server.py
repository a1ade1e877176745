"""`server`: the team's tracking server, `jokbo team serve`, is killed, and away for a while; and so is the pipeline.

What is logged meanwhile is kept by the stages, and sent later: nothing may be lost, and no step be there twice.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import psutil

from tests.support.kills.round import MARK, Harm, Round, marked, until
from tests.support.kills.worker import answers
from tests.support.tracker import free_port

OFTEN = 0.7  # how often it is the server
LOGIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "twelve characters"}


class Server(Round):
    """A round with a tracking server."""

    @contextmanager
    def around(self, make: Callable[[Path], Path]) -> Iterator[None]:
        make(self.folder)
        self.server_mark, self.port, self.back_at = f"{self.mark}-server", free_port(), 0.0
        self.environment = {**self.environment, "MLFLOW_TRACKING_URI": self.store(), **LOGIN}
        try:
            self.ready()
            # what is asked of it here needs the login, too
            with mock.patch.dict("os.environ", LOGIN):
                yield
        finally:
            self._kill_server(signal.SIGKILL)

    def store(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def harm(self, victims: list[psutil.Process]) -> Harm | None:
        if self.draw.random() > OFTEN or self.back_at:
            return super().harm(victims)
        number = self.draw.choice([signal.SIGKILL, signal.SIGTERM])
        self._kill_server(number)
        self.back_at = time.monotonic() + (away := self.draw.expovariate(1 / self.mean_seconds))
        return Harm(f"tracking server {number.name}, away for {away:.0f} s", fatal=False)

    def tend(self) -> None:
        if self.back_at and time.monotonic() > self.back_at:
            self._start()

    def ready(self) -> None:
        if not marked(self.server_mark):
            self._start()
        until(lambda: answers(f"{self.store()}/health"), "the tracking server does not come back")

    def _start(self) -> None:
        self.back_at = 0.0
        folder = self.folder.with_suffix(".served")
        serve = ["team", "serve", "--folder", str(folder), "--port", str(self.port)]
        environment = {name: value for name, value in self.environment.items() if name not in LOGIN}
        password = {"MLFLOW_AUTH_ADMIN_PASSWORD": LOGIN["MLFLOW_TRACKING_PASSWORD"], MARK: self.server_mark}
        with self.folder.with_suffix(".server.log").open("a") as log:
            subprocess.Popen(
                [sys.executable, "-m", "jokbo.cli", *serve],
                env={**environment, **password},
                stdout=log,
                stderr=log,
            )

    def _kill_server(self, number: signal.Signals) -> None:
        for process in marked(self.server_mark):
            process.send_signal(number)
        until(lambda: not marked(self.server_mark), "the tracking server does not end")
