"""The graph of dvc.yaml, and what of it is out of date: DVC's answers, asked for in this process.

An optional graph, which stands in a folder of its own, is read together with what it needs of the chain.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from dvc.config import ConfigError
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo

from jokbo.params import reading
from jokbo.runtime.errors import InputError
from jokbo.runtime.regular import check_all_regular
from jokbo.runtime.secrets import hidden
from tasks.frame import projects
from tasks.frame.identity import project

BLOCKER = re.compile(r"\(PID \d+\): .*")  # in what DVC says of a file that another works on


@dataclass(frozen=True)
class Graph:
    """Stages with the stages that each needs, needed ones first; those that may have to run; the folder in which each
    stands; and of those that DVC finds changed, its status."""

    needs: dict[str, set[str]]
    stale: set[str]
    folders: dict[str, Path]
    changed: dict[str, list[Any]]


@dataclass(frozen=True)
class _Project:
    """What DVC says of the stages in one folder: which each needs, what of them changed, and the paths that they read
    and write."""

    needs: dict[str, set[str]]
    changed: dict[str, list[Any]]
    reads: dict[str, list[Path]]
    writes: dict[str, list[Path]]


def read(until: str | None = None, folder: Path = Path(), *, wait: bool = True) -> Graph:
    """Return the stages of the folder's dvc.yaml, and those of the chain that they need; of `until`, that one and what
    it needs.

    A stage may have to run if DVC finds it changed, or if one that it needs may have to. Without `wait`, InputError
    while a stage runs.
    """
    own = _project(folder, wait)
    needs, changed, folders = own.needs, own.changed, dict.fromkeys(own.needs, folder)
    above = projects.root(folder)
    if above != folder:
        chain = _project(above, wait)
        needs, changed = _joined(own, chain), changed | chain.changed
        folders |= dict.fromkeys(chain.needs, above)
    if until is not None:
        needs = _needed(until, needs)
    ordered = {name: needs[name] for name in TopologicalSorter(needs).static_order()}
    stale: set[str] = set()
    for name, upstream in ordered.items():
        if name in changed or upstream & stale:
            stale.add(name)
    changed = {name: status for name, status in changed.items() if name in ordered}
    return Graph(ordered, stale, {name: folders[name] for name in ordered}, changed)


def remote(folder: Path = Path()) -> str | None:
    """Return the name of the DVC remote that is set for the folder's project, if one is."""
    with Repo(str(folder)) as repo:
        return repo.config["core"].get("remote")


def _project(folder: Path, wait: bool) -> _Project:
    """Return what DVC says of the folder's project, once no other DVC works on it. InputError if it is not right."""
    reading.read(folder / "dvc.yaml")  # DVC would work on aliases that multiply without end
    told: set[str] = set()
    while True:
        try:
            return _read(folder)
        except LockError as error:
            holder = found[0] if (found := BLOCKER.search(str(error))) else "another DVC"
            if not wait:
                raise InputError(f"{holder} works in this folder: ask again when it has ended") from error
            if holder not in told:
                told.add(holder)
                print(f"jokbo: waiting for {holder}, which works in this folder", file=sys.stderr, flush=True)
            time.sleep(1)
        except DvcException as error:
            file = folder / (".dvc/config" if isinstance(error, ConfigError) else "dvc.yaml")
            raise InputError(f"{file}: {hidden(' '.join(str(error).split()))}") from error


def _read(folder: Path) -> _Project:
    with project(folder, wait=False) as repo:
        graph = repo.index.graph
        for path in {folder / dep.def_path for dep in repo.index.deps}:
            check_all_regular(path)
        # DVC gives a stage's path from the current folder
        names = {stage: stage.addressing.removeprefix(f"{folder / 'dvc.yaml'}:") for stage in graph}
        changed = repo.status()
        return _Project(
            {name: {names[other] for other in graph[stage]} for stage, name in names.items()},
            {name: changed[stage.addressing] for stage, name in names.items() if stage.addressing in changed},
            {name: [Path(dep.fs_path) for dep in stage.deps] for stage, name in names.items()},
            {name: [Path(out.fs_path) for out in stage.outs] for stage, name in names.items()},
        )


def _joined(own: _Project, chain: _Project) -> dict[str, set[str]]:
    """Return the stages of an optional graph, each also with those of the chain whose outputs it reads, and these."""
    needs: dict[str, set[str]] = {}
    for name, paths in own.reads.items():
        makers = {
            maker
            for maker, written in chain.writes.items()
            for out in written
            if any(path == out or out in path.parents or path in out.parents for path in paths)
        }
        needs[name] = own.needs[name] | makers
        for maker in makers:
            needs |= _needed(maker, chain.needs)
    return needs


def _needed(name: str, needs: dict[str, set[str]]) -> dict[str, set[str]]:
    if name not in needs:
        raise InputError(f"dvc.yaml has no stage {name}: it has {', '.join(sorted(needs))}")
    found: dict[str, set[str]] = {name: needs[name]}
    for other in needs[name]:
        found |= _needed(other, needs)
    return found
