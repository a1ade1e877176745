"""What runs have left in a project that nobody needs any more, and who works there now.

Every run holds locks in .jokbo/locks: where nobody holds one, its run is gone. Whoever removes something holds all
locks that are free meanwhile, so that a run that begins waits.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from jokbo.params import reading
from jokbo.runtime import outbox
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import PARTIAL
from jokbo.runtime.mlflow_store import local_store
from jokbo.runtime.progress import duration
from jokbo.runtime.secrets import hidden
from jokbo.team.upkeep import tracker
from tasks.frame import identity, projects
from tasks.frame.paths import PROFILES, STATE
from tasks.frame.stage import checkpoints_lock

LOCKS = "locks"  # in .jokbo
PARTIAL_SECONDS = 3600  # what has not grown for so long, nobody writes any more
WRITTEN = ("data", "models", "metrics", "plots", "reports")  # where stages write, in each project
EXPERIMENTS = Path(".dvc/tmp/exps")  # copies of the project in which `dvc exp run --temp` works


@dataclass(frozen=True)
class Leftover:
    """What can go."""

    paths: tuple[Path, ...]
    what: str
    why: str

    @property
    def bytes(self) -> int:
        return sum(map(size, self.paths))

    def remove(self) -> None:
        for path in self.paths:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def live(folder: Path) -> set[str]:
    """Return the names of the locks that somebody holds in a project: `pipeline`, and of stages that run."""
    with _locks(folder, fcntl.LOCK_SH) as busy:
        return busy


@contextmanager
def alone(folder: Path) -> Iterator[set[str]]:
    """Hold every lock of a project that is free; yield the names of those that somebody else holds."""
    with _locks(folder, fcntl.LOCK_EX) as busy:
        yield busy


@contextmanager
def _locks(folder: Path, how: int) -> Iterator[set[str]]:
    busy: set[str] = set()
    mode = "r" if how == fcntl.LOCK_SH else "r+"  # a disk of the network wants that
    with ExitStack() as stack:
        for path in sorted((folder / STATE / LOCKS).glob("*")):
            try:
                fcntl.flock(stack.enter_context(path.open(mode)), how | fcntl.LOCK_NB)
            except BlockingIOError:
                busy.add(path.name)
        yield busy


def found(busy: Collection[str], *, profiles: bool) -> list[Leftover]:
    """Return what can go in this folder, where `busy` are locks that runs hold. `profiles`: also the projects of
    profiles that are still there.
    """
    left = [*checkpoints(busy), *records()]
    if not busy:  # else it may be theirs
        left += [*partials(), *buffers(), *copies()]
    return [*left, *of_profiles(every=profiles)]


def checkpoints(busy: Collection[str]) -> Iterator[Leftover]:
    """Yield the checkpoints of identities that no stage has now, and of stages that have ended."""
    homes = {name: folder for folder in _projects() for name in stages_in(folder)}
    for folder in sorted((STATE / "checkpoints").glob("*/")):
        name, keys = folder.name, sorted(path for path in folder.iterdir() if path.is_dir())
        home = next((home for known, home in homes.items() if _is(name, known)), None)
        if home is None:
            now, why = None, f"there is no stage {name}"
        else:
            try:
                now, ended = _identity(home, name)
            except InputError:
                continue  # an input is not there: which identity the stage will have, nobody knows
            why = "the stage has ended" if ended else f"{name} has another identity now"
            now = None if ended else now
        for path in keys:
            held = {name, checkpoints_lock(name, path.name).name} & {*busy}
            if path.name != now and not held:
                yield Leftover((path,), "checkpoints", f"{why}; last written {_age(path)} ago")


def _identity(home: Path, name: str) -> tuple[str, bool]:
    """Return the key of a stage of the project in a folder as it stands, and whether it has ended with that."""
    with chdir(home):
        now, before = identity.identify(name), identity.committed().get(name)
        return now.key, before is not None and before.key == now.key and all(map(os.path.exists, now.outs))


def records() -> Iterator[Leftover]:
    """Yield the environments and times of stages that no dvc.yaml has."""
    known = [name for folder in _projects() for name in stages_in(folder)]
    for kind in ("environments", "timings"):
        for path in sorted((STATE / kind).glob("*.json")):
            if not any(_is(path.stem, name) for name in known):
                yield Leftover((path,), kind, f"there is no stage {path.stem}")


def partials() -> Iterator[Leftover]:
    """Yield what a killed run left half downloaded or half written."""
    downloads = STATE / "downloads"
    halves = [
        *downloads.glob("tmp*"),
        *downloads.rglob("*.incomplete"),
        *(STATE / outbox.RUNS).glob(f"*{PARTIAL}"),
    ]
    for folder in _projects():
        for name in WRITTEN:
            halves += [*(folder / name).glob(f".*{PARTIAL}"), *(folder / name).glob(f"*/.*{PARTIAL}")]
    for path in halves:
        if time.time() - _written(path) > PARTIAL_SECONDS:
            yield Leftover((path,), "half written", f"its run is gone; last written {_age(path)} ago")


def buffers() -> Iterator[Leftover]:
    """Yield what runs kept for another MLflow than this project's, which no run will send any more."""
    try:
        here = hidden(local_store(STATE))
    except InputError:
        return  # what is for whom cannot be told
    folder = STATE / outbox.RUNS
    known = {path.stem for path in folder.glob("*.jsonl")}
    for path in tracker.left(STATE):
        store = _store(path)
        if store != here:
            why = (
                f"its MLflow, {store}, is not this project's now"
                if store
                else "its run was killed as it began"
            )
            yield Leftover((path, path.with_suffix("")), "kept for MLflow", why)
    for path in sorted(folder.glob("*/")):
        if path.name not in known:
            yield Leftover((path,), "kept for MLflow", "what it belongs to is gone")


def _store(path: Path) -> str | None:
    with path.open(encoding="utf-8") as file, suppress(ValueError):
        opened: dict[str, Any] = json.loads(file.readline())
        return opened["store"]
    return None


def copies() -> Iterator[Leftover]:
    """Yield the copies of the project that work was to be done in, and in which no process is any more."""
    at_work = _folders_at_work()
    for path in [*sorted(EXPERIMENTS.glob("tmp*/")), *sorted(EXPERIMENTS.glob("standalone/tmp*/"))]:
        if not any(each.is_relative_to(path.resolve()) for each in at_work):
            yield Leftover((path,), "copy of the project", "its `dvc exp run --temp` is gone")
    for path in _worktrees():
        if not any(each.is_relative_to(path) for each in at_work):
            yield Leftover((path,), "worktree", f"nobody works in it; last written {_age(path)} ago")


def _worktrees() -> list[Path]:
    """Return git's worktrees below .jokbo that nobody has locked."""
    listed = subprocess.run(["git", "worktree", "list", "--porcelain"], capture_output=True, text=True)
    found = []
    for tree in listed.stdout.split("\n\n"):
        said = {line.partition(" ")[0]: line.partition(" ")[2] for line in tree.splitlines()}
        path = Path(said.get("worktree", ""))
        if path.is_relative_to(STATE.resolve()) and path.is_dir() and "locked" not in said:
            found.append(path)
    return found


def _folders_at_work() -> set[Path]:
    """Return the folders in which processes are."""
    folders = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            folders.add(Path(process.cwd()))
    return folders


def of_profiles(*, every: bool) -> Iterator[Leftover]:
    """Yield the projects of profiles that are no more, or of every one, in which nothing runs."""
    for path in sorted((STATE / "profiles").glob("*/")):
        profile = PROFILES / f"{path.name}.yaml"
        if (every or not profile.is_file()) and not live(path):
            why = f"{profile} runs it anew" if profile.is_file() else f"there is no {profile}"
            yield Leftover((path,), "project of a profile", why)


def stages_in(folder: Path) -> list[str]:
    """Return the stages of a folder's dvc.yaml; NAME@ for one that stands for many whose names it does not say."""
    names: list[str] = []
    for name, stage in reading.read(folder / "dvc.yaml").get("stages", {}).items():
        many = stage.get("foreach")
        if many is None:
            names.append(name if "matrix" not in stage else f"{name}@")
        else:
            names += [f"{name}@{key}" for key in many] if isinstance(many, dict | list) else [f"{name}@"]
    return names


def _is(name: str, known: str) -> bool:
    return name.startswith(known) if known.endswith("@") else name == known


def _projects() -> list[Path]:
    return [Path(), *(Path(name) for name in projects.OPTIONAL if Path(name, "dvc.yaml").is_file())]


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    return sum(each.lstat().st_size for each in _files(path))


def _written(path: Path) -> float:
    """Return when a file, or anything below a folder, was last written."""
    return max((each.lstat().st_mtime for each in [path, *_files(path)]), default=0.0)


def _age(path: Path) -> str:
    return duration(max(0.0, time.time() - _written(path)))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir() or path.is_symlink():
        if path.exists() or path.is_symlink():
            yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)
