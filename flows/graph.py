"""The graph of dvc.yaml, and what of it is out of date: DVC's answers, asked for in this process."""

from __future__ import annotations

import re
import sys
import time
from graphlib import TopologicalSorter
from pathlib import Path

from dvc.config import ConfigError
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo

from jokbo.runtime.errors import InputError
from jokbo.runtime.regular import check_all_regular
from jokbo.runtime.secrets import hidden
from tasks.frame.identity import project

BLOCKER = re.compile(r"\(PID \d+\): .*")  # in what DVC says of a file that another works on

ASKED_FOR = "family"  # stages whose names begin so are long, and run only when they are asked for


def read(until: str | None = None) -> tuple[dict[str, set[str]], set[str]]:
    """Every stage of the pipeline (`until`: that one and what it needs, whatever it is) with the stages it needs,
    needed ones first; and the stages that may have to run.

    A stage is among the latter if DVC finds it changed, or if one that it needs is among them.
    """
    try:
        needs, changed = _read()
    except DvcException as error:
        file = ".dvc/config" if isinstance(error, ConfigError) else "dvc.yaml"
        raise InputError(f"{file}: {hidden(' '.join(str(error).split()))}") from error
    if until is not None:
        needs = _needed(until, needs)
    else:
        needs = {name: upstream for name, upstream in needs.items() if not name.startswith(ASKED_FOR)}
    ordered = {name: needs[name] for name in TopologicalSorter(needs).static_order()}
    stale: set[str] = set()
    for name, upstream in ordered.items():
        if name in changed or upstream & stale:
            stale.add(name)
    return ordered, stale


def remote() -> str | None:
    """The name of the DVC remote that is set for this project, if one is."""
    with Repo() as repo:
        return repo.config["core"].get("remote")


def _read() -> tuple[dict[str, set[str]], set[str]]:
    """What each stage needs, and what is changed, once no other DVC works on it."""
    told: set[str] = set()
    while True:
        try:
            with project(wait=False) as repo:
                graph = repo.index.graph
                needs = {stage.addressing: {other.addressing for other in graph[stage]} for stage in graph}
                for path in {dep.def_path for dep in repo.index.deps}:
                    check_all_regular(Path(path))
                return needs, set(repo.status())
        except LockError as error:
            holder = found[0] if (found := BLOCKER.search(str(error))) else "another DVC"
            if holder not in told:
                told.add(holder)
                print(f"jokbo: waiting for {holder}, which works in this folder", file=sys.stderr, flush=True)
            time.sleep(1)


def _needed(name: str, needs: dict[str, set[str]]) -> dict[str, set[str]]:
    if name not in needs:
        raise InputError(f"dvc.yaml has no stage {name}: it has {', '.join(sorted(needs))}")
    found: dict[str, set[str]] = {name: needs[name]}
    for other in needs[name]:
        found |= _needed(other, needs)
    return found
