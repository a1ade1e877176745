"""`python -m tests.support.kills --kills 100` does harm to pipelines at random, and looks at the results.

A round is a fresh project, which is brought to its end by what a user types, typed again as often as it takes.
Meanwhile it is harmed, at a random moment or at one of those known to be delicate (round.AIMS). After a round the
outputs have the hashes of the undisturbed run. Each stage has one live MLflow run, FINISHED, with all that it has
undisturbed and no step twice. No process is left, nothing half-written, and there is nothing to do.

`--kind`, several times for several kinds; all by default, in turn:

  flow    processes of `python -m flows.pipeline` get SIGKILL, SIGTERM or SIGINT: flow, DVC, stage, Prefect's server
  worker  the same for a deployment in a worker of a Prefect server, and for the worker
  hosts   the same for a training on two hosts; or a whole host is lost
  server  the team's tracking server is killed, and away for a while
  memory  a limit on memory runs out, and the kernel ends somebody
  disk    the disk is full for a while

The project is the miniature, or with `--clone` a clone of this folder's last commit, which is the default run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from tests.support import miniature
from tests.support.kills.after import Undisturbed, faults_of, undisturbed
from tests.support.kills.disk import Disk
from tests.support.kills.hosts import Hosts
from tests.support.kills.memory import Memory
from tests.support.kills.round import FLOW, MARK, GivenUp, NotHere, Round, marked
from tests.support.kills.server import Server
from tests.support.kills.worker import Worker

KINDS: dict[str, type[Round]] = {
    "flow": Round,
    "worker": Worker,
    "hosts": Hosts,
    "server": Server,
    "memory": Memory,
    "disk": Disk,
}


@dataclass
class Projects:
    """Makes projects, and runs each of their kinds undisturbed once."""

    parent: Path
    clone: bool
    until: str | None
    environment: dict[str, str]

    def maker(self, kind: type[Round]) -> Callable[[Path], Path]:
        """Return what makes the project of a kind in a folder, which may be there and empty."""

        def make(folder: Path) -> Path:
            _clone(folder) if self.clone else miniature.build(folder)
            text = (folder / "params.yaml").read_text()
            for key, value in kind.params().items():
                text, count = re.subn(rf"^  {key}: .*$", f"  {key}: {value}", text, flags=re.MULTILINE)
                assert count == 1, key
            (folder / "params.yaml").write_text(text)
            if self.until:
                _cut(folder / "dvc.yaml", self.until)
            return folder

        return make

    def undisturbed(self, kind: type[Round]) -> Undisturbed:
        """Return what the project of a kind makes undisturbed. It is run the first time."""
        name = "-".join(["undisturbed", *filter(None, [self.until]), *kind.params().values()])
        folder, file = self.parent / name, self.parent / f"{name}.json"
        if not file.exists():
            if not folder.exists():
                self.maker(kind)(folder)
            subprocess.run(FLOW, cwd=folder, env=self.environment, check=True)
            file.write_text(json.dumps(asdict(undisturbed(folder))))
        return Undisturbed(**json.loads(file.read_text()))


def _clone(folder: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", str(miniature.ROOT), str(folder)], check=True)
    (folder / "dvc.lock").unlink(missing_ok=True)  # of whatever machine made it: nothing is to be found done


def _cut(file: Path, last: str) -> None:
    """Leave out the stages after this one."""
    tree = YAML().load(file)
    names = list(tree["stages"])
    for name in names[names.index(last) + 1 :]:
        del tree["stages"][name]
    YAML().dump(tree, file)


def one_round(kind: str, number: int, options: argparse.Namespace, projects: Projects, most: int) -> Round:
    """Return a round of the kind, after it. Raises NotHere."""
    expected = projects.undisturbed(KINDS[kind])
    draw = random.Random(f"{options.seed} {kind} {number}")
    folder = projects.parent / f"{kind}-{options.seed}-{number}"
    one = KINDS[kind](folder, draw, options.mean, projects.environment)
    try:
        with one.around(projects.maker(KINDS[kind])):
            try:
                one.to_its_end(most)
                one.faults += faults_of(one, expected)
            except (GivenUp, TimeoutError) as why:
                one.faults.append(f"given up: {why}")
            if one.faults and one.folder != folder:  # it is about to go
                shutil.copytree(one.folder, f"{folder}.kept", symlinks=True)
    finally:
        for process in marked(one.mark):
            process.kill()
        if not one.faults:
            shutil.rmtree(folder, ignore_errors=True)
    return one


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=KINDS, action="append", help="of rounds; by default all, in turn")
    parser.add_argument("--kills", type=int, default=100, help="how many in all")
    parser.add_argument("--each", type=int, default=10, help="at most so many in a round")
    parser.add_argument("--mean", type=float, default=8.0, help="seconds between kills, on average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", help="a stage of dvc.yaml: the project has none after it")
    parser.add_argument("--clone", action="store_true", help="the default run, not the miniature")
    parser.add_argument(
        "--folder", type=Path, help="in which rounds are, and the undisturbed runs of an earlier call"
    )
    return parser.parse_args()


def main() -> None:
    options = _options()
    environment = miniature.environment()
    if options.clone:
        del environment["OMP_NUM_THREADS"]  # as the default run is typed: the number of threads changes bits
    parent = options.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    parent.mkdir(parents=True, exist_ok=True)
    projects = Projects(parent.resolve(), options.clone, options.until, environment)
    table, kinds, done, faulty, number = (
        Table("round", "kills", "faults"),
        list(options.kind or KINDS),
        0,
        0,
        0,
    )
    while done < options.kills and kinds:
        kind = kinds[number % len(kinds)]
        number += 1
        try:
            one = one_round(kind, number, options, projects, min(options.each, options.kills - done))
        except NotHere as why:
            kinds.remove(kind)
            number = 0
            print(f"no rounds of the kind {kind} here: {why}", flush=True)
            continue
        done += len(one.kills)
        faulty += bool(one.faults)
        table.add_row(f"{kind} {number}", str(len(one.kills)), "\n".join(one.faults) or "none")
        print(f"{kind} {number}: {len(one.kills)} kills, {one.faults or 'no fault'}", flush=True)
    Console(width=150).print(table)
    print(f"{done} kills in {table.row_count} rounds, {faulty} with faults; {parent}")
    sys.exit(bool(faulty))


if __name__ == "__main__":
    # so that what it starts heeds it, in the background too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop(MARK, None)
    main()
