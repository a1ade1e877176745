"""One project on its way to its end, and what befell it: what every kind of round shares.

Processes of a round are known by MARK in their environment: what outlives its round is found by it.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

MARK = "JOKBO_KILLS"
FLOW = (sys.executable, "-m", "flows.pipeline")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LOOK_SECONDS = 0.05
AIM_SECONDS = 30.0  # so long a delicate moment is waited for
HANG_SECONDS = 3600.0  # ends a hang; no verdict depends on it


class NotHere(Exception):
    """A kind of round cannot be real on this machine. The message says why."""


class Harm(NamedTuple):
    """What was done to a round. `fatal` is whether what was typed may fail of it."""

    what: str
    fatal: bool = True


@dataclass
class Round:
    """The project in a folder. This class is the kind `flow`: processes of a pipeline are killed."""

    folder: Path
    draw: random.Random
    mean_seconds: float  # between a start, or a kill, and the next kill
    environment: dict[str, str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    kills: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    running: list[subprocess.Popen] = field(default_factory=list)  # what is typed

    # what kinds differ in

    @staticmethod
    def params() -> dict[str, str]:
        """Return what of `compute` in params.yaml is another than in the miniature, for the undisturbed run too."""
        return {}

    @contextmanager
    def around(self, make: Callable[[Path], Path]) -> Iterator[None]:
        """Make the project, and hold what it needs around it: a server, a disk. Raises NotHere."""
        make(self.folder)
        yield

    def typed(self) -> Iterator[list[list[str]]]:
        """Yield what is typed, one after the other: commands that run side by side, until all of them succeed."""
        yield [list(FLOW)]

    def succeeded(self, statuses: list[int]) -> bool:
        """Return whether what was typed has done its work, by the exit statuses of its commands."""
        return not any(statuses)

    def harm(self, victims: list[psutil.Process]) -> Harm | None:
        """Do some harm, and return what was done."""
        return self.kill(self.draw.choice(victims))

    def tend(self) -> None:
        """Start again what somebody keeps running. It is called again and again."""

    def ready(self) -> None:
        """Have all that was taken away there again, for what is typed next."""

    def store(self) -> str:
        """Return MLflow's address."""
        return f"sqlite:///{self.folder / '.jokbo' / 'mlflow.db'}"

    def again(self) -> list[str]:
        """Return the command that is to find nothing to do."""
        return list(FLOW)

    # what they share

    def to_its_end(self, most: int) -> None:
        """Type what is to be typed until it succeeds, with at most `most` kills on the way."""
        for commands in self.typed():
            while not self._succeeds(commands, most):
                self.ready()
        self.ready()

    def _succeeds(self, commands: list[list[str]], most: int) -> bool:
        """Run the commands to their end. A failure that no harm explains is a fault, and what is typed is given up."""
        logs = [self.folder.with_suffix(f".{number}.log") for number in range(len(commands))]
        with ExitStack() as files:
            self.running = running = [
                subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=self.surroundings(),
                    stdout=files.enter_context(log.open("w")),
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                for command, log in zip(commands, logs, strict=True)
            ]
            fatal = self._disturb(running, most)
            deadline = time.monotonic() + HANG_SECONDS
            while running_of(running):
                self.tend()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.folder.name} hangs: {self.kills[-1:]}")
                time.sleep(LOOK_SECONDS)
        texts = [log.read_text(errors="replace") for log in logs]
        for log, text in zip(logs, texts, strict=True):
            if "Traceback" in text:
                kept = log.with_suffix(f".{len(self.kills)}.traceback")
                shutil.copy(log, kept)
                self.faults.append(f"a traceback after {self.kills[-1:]}: {kept}")
        self.wait_for_orphans()
        if self.succeeded([each.returncode for each in running]):
            return True
        if not fatal:
            told = [text.strip().splitlines()[-1:] for text in texts]
            self.faults.append(f"rc {[each.returncode for each in running]} without a kill: {told}")
            raise GivenUp
        return False

    def surroundings(self) -> dict[str, str]:
        """Return the environment of a process of the round."""
        return {**self.environment, MARK: self.mark}

    def alive(self) -> list[psutil.Process]:
        """Return the processes of this round that may be killed, and end with what was typed."""
        return marked(self.mark)

    def wait_for_orphans(self) -> None:
        """Wait until nothing outlives what was typed; what goes on doing so ends the whole script."""
        until(lambda: not self.alive(), f"processes outlive their flow: {self.kills[-1:]} {self.alive()}")

    def ended(self) -> list[Path]:
        """Return the records of the stages that have come to their end."""
        return list((self.folder / ".jokbo" / "timings").glob("[!.]*.json"))

    def kill(self, victim: psutil.Process) -> Harm | None:
        number = self.draw.choice(SIGNALS)
        try:
            what = role(victim)
            victim.send_signal(number)
        except psutil.Error:
            return None
        return Harm(f"{what} {number.name}")

    def _disturb(self, running: list[subprocess.Popen], most: int) -> bool:
        """Do harm now and then while the commands run. Whether any of it may have ended them."""
        fatal = False
        while len(self.kills) < most and running_of(running):
            moment = self._moment(running)
            victims = self.alive()
            if not running_of(running) or not victims:
                break
            if (done := self.harm(victims)) is None:
                continue
            fatal |= done.fatal
            self.kills.append(f"{done.what} {moment}")
            print(f"{len(self.kills):4} {type(self).__name__.lower()}: {self.kills[-1]}", flush=True)
        return fatal

    def _moment(self, running: list[subprocess.Popen]) -> str:
        """Wait for a moment to strike, and say which it is: one of AIMS, or a random one where that does not come."""
        ended = len(self.ended()) + self.draw.choice([0, 0, 1, 2])  # so that the kills spread over the stages
        while running_of(running) and len(self.ended()) < ended:
            self.tend()
            time.sleep(LOOK_SECONDS)
        aim = self.draw.choice([None, *AIMS])
        patience = AIM_SECONDS if aim else self.draw.expovariate(1 / self.mean_seconds)
        deadline = time.monotonic() + patience
        while running_of(running) and time.monotonic() < deadline:
            self.tend()
            if aim and AIMS[aim](self.folder):
                time.sleep(self.draw.uniform(0, 1.0))  # these moments last: strike anywhere within them
                return aim
            time.sleep(LOOK_SECONDS)
        return "at random"


class GivenUp(Exception):
    """What was typed failed without a reason: a fault, which is noted."""


def running_of(processes: list[subprocess.Popen]) -> list[subprocess.Popen]:
    """Return those that have not ended."""
    return [each for each in processes if each.poll() is None]


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes of a round."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def role(process: psutil.Process) -> str:
    """Return what a process of the tree is, from its command line."""
    words = [word for word in process.cmdline() if not word.startswith("-")]
    for word in words:
        if word.startswith(("flows.", "tasks.", "prefect.")) or word in ("dvc", "prefect", "uvicorn"):
            rest = [other for other in words if other.startswith("tasks.")]
            return word if word.startswith("tasks.") else " ".join([word, *rest[:1]])
    return Path(words[0]).name if words else "a process"


def until(happens: Callable[[], bool], otherwise: str, seconds: float = HANG_SECONDS) -> None:
    """Wait until it happens. TimeoutError if it never does."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


def _lock_written(folder: Path) -> bool:
    """Return whether a stage has just ended: DVC writes it down."""
    return _young(folder.glob(".jokbo/timings/*.json"))


def _store_made(folder: Path) -> bool:
    """Return whether MLflow's store is being made."""
    return _young(folder.glob(".jokbo/*mlflow.db*"))


def _run_made(folder: Path) -> bool:
    """Return whether a stage has just begun: its MLflow run is being made."""
    return _young(folder.glob(".jokbo/locks/*"))


def _checkpoint_written(folder: Path) -> bool:
    return _young(folder.glob(".jokbo/checkpoints/*/*/**/.partial-*"))


def _young(paths: Iterator[Path]) -> bool:
    try:
        return any(time.time() - path.stat().st_mtime < 0.5 for path in paths)
    except OSError:  # one of them, or a folder on the way, has just gone: look again
        return False


AIMS: dict[str, Callable[[Path], bool]] = {
    "as a stage's end is written": _lock_written,
    "as the store is made": _store_made,
    "as a stage begins": _run_made,
    "as a checkpoint is written": _checkpoint_written,
}
