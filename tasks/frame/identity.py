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

from jokbo.runtime import ancestry
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import writing
from jokbo.runtime.regular import check_all_regular
from jokbo.runtime.tracking import flat
from tasks import CHANGED
from tasks.frame import lockfile

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

    @property
    def models(self) -> list[str]:
        """The folders of models among its outputs."""
        return [out for out in self.outs if out.startswith("models/") and not out.endswith(ancestry.SUFFIX)]


def identify(name: str) -> Identity:
    """Return the identity of stage `name` of ./dvc.yaml as it stands now. InputError if an input is missing."""
    from dvc.exceptions import DvcException
    from dvc.stage.serialize import to_single_stage_lockfile

    try:
        with project() as repo:
            (stage,) = repo.stage.collect(name)
            missing = [dep.def_path for dep in stage.deps if not dep.exists]
            if missing:
                where = ", in the folder above," if missing[0].startswith("../") else f" {name}"
                raise InputError(
                    f"{name} needs {missing[0]}, which is not there: `dvc repro`{where} makes what stages make"
                )
            for dep in stage.deps:
                check_all_regular(Path(dep.def_path))
            stage.save_deps()
            return of_entry(to_single_stage_lockfile(stage))
    except DvcException as error:
        raise InputError(f"dvc.yaml, stage {name}: {error}") from error


def check_loaded(identity: Identity) -> None:
    """Raise InputError if code or parameters were edited since this process started.

    It may have read them before that.
    """
    for path in ("params.yaml", *identity.deps):
        if edited := _edited(path):
            raise InputError(f"{edited} was edited while the stage started: run it again")


def _edited(dependency: str) -> str | None:
    """Return the first file of code or parameters in a dependency that was edited since this process started."""
    path = Path(dependency)
    for file in sorted(path.rglob("*.py")) if ancestry.is_code(dependency) and path.is_dir() else [path]:
        before = CHANGED.get(file.as_posix())
        if before is not None and before != file.stat().st_ctime_ns:
            return file.as_posix()
    return None


def check_unchanged(name: str, identity: Identity) -> None:
    """Raise InputError, naming what differs, if the identity of stage `name` is no longer this one.

    DVC would record the new identity for what the old one made: it looks at inputs when a stage's command has ended.
    """
    now = identify(name)
    if now.key == identity.key:
        return
    old, new = ({**flat({"params.yaml": one.params}), **one.deps} for one in (identity, now))
    differing = [path for path in {**old, **new} if old.get(path) != new.get(path)] or ["dvc.yaml"]
    path = (_edited(differing[0]) or differing[0]).replace("params.yaml.", "params.yaml: ")
    raise InputError(
        f"{path} was edited while {name} ran: what it made is not recorded, for DVC would take it for the new one's; "
        f"run again for that, or undo the edit and run again for the old one's"
    )


def outputs(name: str) -> dict[str, str]:
    """Return DVC's md5 of each output of stage `name` that is there. DVC remembers it, and hashes no file twice."""
    with project() as repo:
        (stage,) = repo.stage.collect(name)
        there = {out.def_path: out.get_hash().value for out in stage.outs if out.exists}
    return {path: md5 for path, md5 in there.items() if md5}


def committed() -> dict[str, Identity]:
    """Return what dvc.lock says of each stage: the identity with which it last ran to its end."""
    with project():
        entries = lockfile.parsed(lockfile.LOCK.read_text("utf-8")) if lockfile.LOCK.exists() else {}
    assert entries is not None  # what was half written is mended
    return {name: of_entry(entry) for name, entry in entries.items()}


@contextmanager
def project(folder: Path = Path(), *, wait: bool = True) -> Iterator[Repo]:
    """Yield the project of a folder, as DVC sees it, while no other process of DVC writes there.

    Reading dvc.lock takes a second.

    What a killed one left half written is mended first. Without `wait`, DVC's LockError after some seconds.
    """
    from dvc.repo import Repo, lock_repo

    with writing(folder / ".dvc"), Repo(str(folder), _wait_for_lock=wait) as repo, lock_repo(repo):
        assert repo.tmp_dir is not None  # of a project on a disk
        lockfile.settle_readers(repo.tmp_dir)
        lockfile.settle(folder)
        yield repo


def of_entry(entry: Mapping[str, Any]) -> Identity:
    """Return the identity of a run of which dvc.lock has this entry."""
    from dvc.stage.cache import _get_cache_hash

    return Identity(
        key=_get_cache_hash(dict(entry), key=True),
        params={
            name: value for section in entry.get("params", {}).values() for name, value in section.items()
        },
        deps={dep["path"]: dep["md5"] for dep in entry.get("deps", [])},
        outs=tuple(out["path"] for out in entry.get("outs", [])),
    )
