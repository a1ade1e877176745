"""The family tree of a model: every model folder holds the record of what it and its parents were made from.

A record says nothing of time, machine or commit: the same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.tree import Tree

from jokbo.runtime import environment
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import write_text
from jokbo.runtime.tracking import flat

FILE = "ancestry.json"
KEYS = {"stage", "key", "weights", "params", "data", "code", "parents"}  # of a record


def write(model: Path, *, stage: str, key: str, params: Mapping[str, Any], deps: Mapping[str, str]) -> str:
    """Write the record of `model` into its folder and return the sha256 of its weights.

    `deps` are the stage's inputs, path -> hash. Those that hold a record themselves are its parents; their
    records are embedded, so that a model that is copied away takes its family along.
    """
    weights = _weights(model)
    parents = {path: read(Path(path)) for path in sorted(deps) if (Path(path) / FILE).is_file()}
    record = {
        "stage": stage,
        "key": key,
        "weights": weights,
        "params": params,
        "data": {
            path: hash for path, hash in sorted(deps.items()) if not _is_code(path) and path not in parents
        },
        "code": {path: hash for path, hash in sorted(deps.items()) if _is_code(path)},
        "parents": parents,
    }
    write_text(model / FILE, json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return weights


def read(model: Path) -> dict[str, Any]:
    """The record in the folder of a model. InputError if there is none."""
    try:
        record = json.loads((model / FILE).read_text("utf-8"))
        if missing := KEYS - set(record):
            raise ValueError(f"it has no {min(missing)}")
        return record
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{model}: no {FILE} there: name the folder of a model that a stage wrote") from None
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{model / FILE}: not a record of ancestry ({error}): make the model again"
        ) from error


def tree(name: str, record: Mapping[str, Any], commit_of: Callable[[str], str | None]) -> Tree:
    """The record and its parents' as a tree to print; `commit_of` maps a stage's key to a git commit.

    `name` is the path of the model: in what it was made stands beside it.
    """
    branch = Tree(f"[bold]{name}[/]  made by [cyan]{record['stage']}[/]  weights {record['weights'][:12]}")
    branch.add(f"code    {commit_of(record['key']) or 'commit unknown'}, {len(record['code'])} files")
    for found in environment.read(name, record["weights"]):
        branch.add(escape(f"made on {environment.summary(found)}"))
    if record["data"]:
        data = branch.add("data")
        for path, hash in record["data"].items():
            data.add(f"{path}  md5 {hash}")
    if record["params"]:
        params = branch.add("params")
        for key, value in flat(record["params"]).items():
            params.add(escape(f"{key}: {value}"))
    for path, parent in record["parents"].items():
        branch.add(tree(path, parent, commit_of))
    return branch


def _is_code(path: str) -> bool:
    return path.endswith(".py")


def _weights(model: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(model.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
