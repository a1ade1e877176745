"""DVC's identity of a stage: one hash over its command, parameters, inputs and the paths of its outputs.

It is the key under which DVC itself remembers runs (its run cache), so it can be computed before a stage runs
and found again in dvc.lock afterwards. DVC keeps the function private; this file alone touches it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.errors import InputError

if TYPE_CHECKING:
    from dvc.repo import Repo

# DVC needs git unless its settings say otherwise; a source archive has no `.git`
if not any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
    os.environ.setdefault("DVC_SYSTEM_CONFIG_DIR", str(Path(__file__).with_name("without_git")))


@dataclass(frozen=True)
class Identity:
    key: str
    params: dict[str, Any]
    deps: dict[str, str]  # path -> DVC's md5
    outs: tuple[str, ...]


def identify(name: str) -> Identity:
    """The identity of stage `name` of ./dvc.yaml as it stands now. InputError if an input is missing."""
    from dvc.exceptions import DvcException
    from dvc.stage.serialize import to_single_stage_lockfile

    try:
        with _project() as repo:
            (stage,) = repo.stage.collect(name)
            missing = [dep.def_path for dep in stage.deps if not dep.exists]
            if missing:
                raise InputError(
                    f"{name} needs {missing[0]}, which is not there: `dvc repro {name}` makes what stages make"
                )
            stage.save_deps()
            return _identity(to_single_stage_lockfile(stage))
    except DvcException as error:
        raise InputError(f"dvc.yaml, stage {name}: {error}") from error


def committed() -> dict[str, Identity]:
    """What dvc.lock says of each stage: the identity with which it last ran to its end."""
    from ruamel.yaml import YAML

    lock = Path("dvc.lock")
    if not lock.is_file():
        return {}
    with _project():
        entries = YAML(typ="safe").load(lock).get("stages", {})
    return {name: _identity(entry) for name, entry in entries.items()}


@contextmanager
def _project() -> Iterator[Repo]:
    """This folder, as DVC sees it, while no other process of DVC writes dvc.lock: that takes it a second."""
    from dvc.repo import Repo

    with Repo(_wait_for_lock=True) as repo, repo.lock:
        yield repo


def _identity(entry: Mapping[str, Any]) -> Identity:
    from dvc.stage.cache import _get_cache_hash

    return Identity(
        key=_get_cache_hash(dict(entry), key=True),
        params={
            name: value for section in entry.get("params", {}).values() for name, value in section.items()
        },
        deps={dep["path"]: dep["md5"] for dep in entry.get("deps", [])},
        outs=tuple(out["path"] for out in entry.get("outs", [])),
    )
