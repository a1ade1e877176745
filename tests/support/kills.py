"""`python -m tests.support.kills --kills 100` kills processes of pipelines at random, and looks at the results.

A round is a fresh project. `python -m flows.pipeline` brings it to its end, typed again as often as it takes. Meanwhile
processes of its tree (flow, supervisor, DVC, stage, rank, Prefect's server) get SIGKILL, SIGTERM or SIGINT, at a random
moment or at one of those known to be delicate (AIMS). After a round the outputs have the hashes of the undisturbed run,
each stage has one MLflow run, FINISHED, with no step twice, no process is left, and there is nothing to do.

The project is the miniature, or with `--clone` a clone of this folder's last commit, which is the default run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from mlflow import MlflowClient
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from jokbo.runtime import tracking
from tests.support import miniature

MARK = "JOKBO_KILLS"  # in the environment of every process of a round: what is left over is found by it
FLOW = [sys.executable, "-m", "flows.pipeline"]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LOOK_SECONDS = 0.01
AIM_SECONDS = 30.0  # so long a delicate moment is waited for
HANG_SECONDS = 3600.0  # ends a hang; no verdict depends on it
VARYING = ("reports/report.html",)  # shows times


@dataclass
class Round:
    """One project on its way to its end, and what befell it."""

    folder: Path
    draw: random.Random
    mean_seconds: float  # between a start, or a kill, and the next kill
    environment: dict[str, str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    kills: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def to_its_end(self, most: int) -> None:
        """Type the command until it succeeds, with at most `most` kills on the way."""
        while True:
            log = self.folder.parent / f"{self.folder.name}.log"
            with log.open("w") as output:
                flow = subprocess.Popen(
                    FLOW,
                    cwd=self.folder,
                    env={**self.environment, MARK: self.mark},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
                killed = self._disturb(flow, most)
                flow.wait(HANG_SECONDS)
            text = log.read_text()
            if "Traceback" in text:
                self.faults.append(f"a traceback after {self.kills[-1:]}: {log.with_suffix('.traceback')}")
                shutil.copy(log, log.with_suffix(".traceback"))
            _until(lambda: not self.alive(), f"processes outlive their flow: {self.kills[-1:]}")
            if flow.returncode == 0:
                return
            if not killed:
                self.faults.append(f"rc {flow.returncode} without a kill: {text.splitlines()[-1:]}")
                return

    def ended(self) -> list[Path]:
        """Return the records of the stages that have come to their end."""
        return list((self.folder / ".jokbo" / "timings").glob("[!.]*.json"))

    def alive(self) -> list[psutil.Process]:
        """Return the processes of this round."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def _disturb(self, flow: subprocess.Popen, most: int) -> bool:
        """Kill something now and then while the flow lives. Whether anything was killed."""
        killed = False
        while len(self.kills) < most and flow.poll() is None:
            moment = self._moment(flow)
            victims = self.alive()
            if flow.poll() is not None or not victims:
                break
            killed |= self._kill(self.draw.choice(victims), flow, moment)
        return killed

    def _moment(self, flow: subprocess.Popen) -> str:
        """Wait for a moment to strike, and say which it is: one of AIMS, or a random one where that does not come."""
        ended = len(self.ended()) + self.draw.choice([0, 0, 1, 2])  # so that the kills spread over the stages
        while flow.poll() is None and len(self.ended()) < ended:
            time.sleep(LOOK_SECONDS)
        aim = self.draw.choice([None, *AIMS])
        patience = AIM_SECONDS if aim else self.draw.expovariate(1 / self.mean_seconds)
        deadline = time.monotonic() + patience
        while flow.poll() is None and time.monotonic() < deadline:
            if aim and AIMS[aim](self.folder):
                time.sleep(self.draw.uniform(0, 1.0))  # these moments last: strike anywhere within them
                return aim
            time.sleep(LOOK_SECONDS)
        return "at random"

    def _kill(self, victim: psutil.Process, flow: subprocess.Popen, moment: str) -> bool:
        number = self.draw.choice(SIGNALS)
        try:
            what = "flow" if victim.pid == flow.pid else _role(victim)
            victim.send_signal(number)
        except psutil.Error:
            return False
        self.kills.append(f"{what} {number.name} {moment}")
        print(f"{len(self.kills):4} {self.folder.name}: {self.kills[-1]}", flush=True)
        return True


def _role(process: psutil.Process) -> str:
    """Return what a process of the tree is, from its command line."""
    words = [word for word in process.cmdline() if not word.startswith("-")]
    for word in words:
        if word.startswith(("flows.", "tasks.")) or word in ("dvc", "prefect", "uvicorn"):
            rest = [other for other in words if other.startswith("tasks.")]
            return word if word.startswith("tasks.") else " ".join([word, *rest[:1]])
    return Path(words[0]).name if words else "a process"


def _lock_written(folder: Path) -> bool:
    """Return a stage has just ended: DVC writes it down."""
    return _young(folder.glob(".jokbo/timings/*.json"))


def _store_made(folder: Path) -> bool:
    """Say that MLflow's store is being made."""
    return _young(folder.glob(".jokbo/*mlflow.db*"))


def _run_made(folder: Path) -> bool:
    """Return a stage has just begun: its MLflow run is being made."""
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


def hashes(folder: Path) -> dict[str, str]:
    """Map each output that was made here to DVC's hash of it, from dvc.lock."""
    stages = YAML(typ="safe").load(folder / "dvc.lock")["stages"]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    return {path: md5 for path, md5 in outs.items() if path not in VARYING and (folder / path).exists()}


def faults_of(folder: Path, expected: dict[str, str], environment: dict[str, str]) -> list[str]:
    """Return what is not as after an undisturbed run."""
    found, faults = hashes(folder), []
    different = sorted(path for path in expected if found.get(path) != expected[path])
    if different:
        faults.append(f"other bytes: {', '.join(different)}")
    client = MlflowClient(f"sqlite:///{folder / '.jokbo' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    live = [run for run in client.search_runs([experiment]) if tracking.SUPERSEDED not in run.data.tags]
    runs = [run for run in live if run.data.tags.get("stage") != "pipeline"]
    for name, count in Counter(run.data.tags.get("stage") for run in runs).items():
        if count > 1:
            faults.append(f"{count} live MLflow runs of {name}")
    for run in runs:
        if run.info.status != "FINISHED":
            faults.append(f"the MLflow run of {run.data.tags.get('stage')} is {run.info.status}")
        for metric in run.data.metrics:
            steps = Counter(point.step for point in client.get_metric_history(run.info.run_id, metric))
            if max(steps.values()) > 1:
                faults.append(f"{run.data.tags.get('stage')}: {metric} twice at a step")
    again = subprocess.run(
        FLOW, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS
    )
    if again.returncode or "Nothing to do" not in again.stdout:
        faults.append(f"something is left to do: {again.stdout[-300:]} {again.stderr[-300:]}")
    return faults


def _until(happens: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


def _clone(folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(miniature.ROOT), str(folder)], check=True)
    (folder / "dvc.lock").unlink(missing_ok=True)  # of whatever machine made it: nothing is to be found done
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="how many in all")
    parser.add_argument("--each", type=int, default=10, help="at most so many in a round")
    parser.add_argument("--mean", type=float, default=8.0, help="seconds between kills, on average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clone", action="store_true", help="the default run, not the miniature")
    parser.add_argument(
        "--undisturbed", type=Path, help="a folder that ran undisturbed; none: it is run first"
    )
    options = parser.parse_args()
    make = _clone if options.clone else miniature.build
    environment = miniature.environment()
    if options.clone:
        del environment["OMP_NUM_THREADS"]  # as the default run is typed: the number of threads changes bits
    parent = Path(tempfile.mkdtemp(prefix="kills-"))
    reference = options.undisturbed
    if reference is None:
        reference = make(parent / "undisturbed")
        subprocess.run(FLOW, cwd=reference, env=environment, check=True)
    expected, table, done, faulty = hashes(reference), Table("round", "kills", "faults"), 0, 0
    while done < options.kills:
        number = table.row_count + 1
        folder = make(parent / f"round-{number}")
        one = Round(folder, random.Random(f"{options.seed} {number}"), options.mean, environment)
        one.to_its_end(min(options.each, options.kills - done))
        one.faults += faults_of(folder, expected, environment)
        done += len(one.kills)
        faulty += bool(one.faults)
        table.add_row(str(number), str(len(one.kills)), "\n".join(one.faults) or "none")
        print(f"round {number}: {len(one.kills)} kills, {one.faults or 'no fault'}", flush=True)
        if not one.faults:
            shutil.rmtree(folder)
    Console(width=150).print(table)
    print(f"{done} kills in {table.row_count} rounds, {faulty} with faults; {parent}")
    sys.exit(bool(faulty))


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # so that what it starts heeds it, in the background too
    os.environ.pop(MARK, None)
    main()
