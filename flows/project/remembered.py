"""What DVC remembers of the runs of stages: dvc.lock has the last of each, the run cache every one that it keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.serialize import load_yaml

from jokbo.runtime.ancestry import is_code
from tasks.frame.identity import committed, project
from tasks.frame.lockfile import LOCK, parsed


@dataclass(frozen=True)
class Ran:
    """One run of a stage that came to its end."""

    stage: str
    key: str
    params: Mapping[str, Any]
    deps: Mapping[str, str]  # path -> DVC's md5
    outs: Mapping[str, str]
    bytes: int  # of the outputs

    @property
    def inputs(self) -> dict[str, str]:
        """What it read that is no code."""
        return {path: md5 for path, md5 in self.deps.items() if not is_code(path)}


class Memory:
    """All runs that DVC remembers of the project in the current folder, found by what they made or by their key."""

    def __init__(self) -> None:
        text = LOCK.read_text("utf-8") if LOCK.is_file() else ""
        entries, keys = (
            (parsed(text) or {}) if text else {},
            {name: own.key for name, own in committed().items()},
        )
        self.last = {name: _ran(name, keys[name], entry) for name, entry in entries.items()}
        self._names: dict[str, str] = {entry["cmd"]: name for name, entry in entries.items()}

    @cached_property
    def runs(self) -> list[Ran]:
        """Every run, the last ones first, then the newest of the run cache first."""
        return [*self.last.values(), *self._cached()]

    @cached_property
    def by_key(self) -> dict[str, Ran]:
        return {ran.key: ran for ran in reversed(self.runs)}

    @cached_property
    def by_out(self) -> dict[tuple[str, str], Ran]:
        """By path and md5 of an output."""
        return {out: ran for ran in reversed(self.runs) for out in ran.outs.items()}

    def _cached(self) -> Iterator[Ran]:
        with project() as repo:
            files = Path(repo.stage_cache.cache_dir).glob("*/*/*")
            for file in sorted(files, key=os.path.getmtime, reverse=True):
                try:
                    entry = load_yaml(file)
                    command: str = entry["cmd"]
                    name = self._names.get(command) or command.rpartition("tasks.")[2]
                    yield _ran(name, file.parent.name, entry)
                except (
                    DvcException,
                    KeyError,
                    TypeError,
                ):  # half written by who was killed: DVC drops it too
                    continue


def _ran(stage: str, key: str, entry: Mapping[str, Any]) -> Ran:
    sections = entry.get("params", {}).values()
    deps, outs = ({each["path"]: each["md5"] for each in entry.get(part, [])} for part in ("deps", "outs"))
    size = sum(out.get("size", 0) for out in entry.get("outs", []))
    return Ran(stage, key, {name: value for own in sections for name, value in own.items()}, deps, outs, size)
