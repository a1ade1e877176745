"""The record of a run: what a stage was made from, what it made, and the trails of its trainings.

MLflow has it as the artifacts of `record/`, and .jokbo as the folder records/STAGE/KEY, for `jokbo reproduce`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jokbo.runtime.changes import Changes
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import atomic_write_folder
from jokbo.runtime.secrets import hidden_in

FOLDER = "record"  # of a run's artifacts
RECORD, DIFF, TRAILS = "record.json", "changes.diff", "trails.json"


@dataclass(frozen=True)
class RunRecord:
    stage: str
    key: str  # DVC's identity of the stage
    folder: str  # of the stage's project, from the root: "." or "family"
    run: str | None  # in MLflow
    commit: str
    changes: Mapping[str, Any]  # what the diff does not say
    params: Mapping[str, Any]
    deps: Mapping[str, str]  # path -> DVC's md5
    outs: Mapping[str, str]
    environments: Sequence[Mapping[str, Any]]  # the last one is that in which it was finished


@dataclass(frozen=True)
class Account:
    """All that is kept of a run."""

    record: RunRecord
    diff: str
    trails: Mapping[str, list[list[Any]]]  # by training, the marks of jokbo/training/trail.py

    def save(self, folder: Path) -> None:
        """Write it as a folder, in place of an earlier one."""
        with atomic_write_folder(folder) as whole:
            record = hidden_in(asdict(self.record))
            (whole / RECORD).write_text(json.dumps(record, indent=1) + "\n")
            (whole / TRAILS).write_text(json.dumps(self.trails) + "\n")
            write_diff(whole / DIFF, self.diff)

    @classmethod
    def load(cls, folder: Path) -> Account:
        """Return what a folder holds. InputError if it is not there, or not whole."""
        try:
            record = RunRecord(**json.loads((folder / RECORD).read_text()))
            trails = json.loads((folder / TRAILS).read_text())
            return cls(record, (folder / DIFF).read_bytes().decode("utf-8", "surrogateescape"), trails)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{folder}: no record of a run ({error})") from error


def write_diff(path: Path, diff: str) -> None:
    path.write_bytes(diff.encode("utf-8", "surrogateescape"))


def said(changes: Changes) -> dict[str, Any]:
    """Return what the diff of these changes does not say."""
    return {"hides": changes.hides, "untracked": changes.untracked, "left_out": changes.left_out}


def place(state: Path, stage: str, key: str) -> Path:
    """Return the folder of a run's account in .jokbo, here `state`."""
    return state / "records" / stage / key
