"""Which objects of DVC's cache nothing uses: no dvc.lock of this project or of those that share its cache, and no
branch, tag or experiment of theirs, as `dvc gc` has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flows.leftovers import Leftover
from jokbo.runtime.errors import InputError, line_of
from tasks.frame import projects
from tasks.frame.paths import STATE

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

GIT = {"all_branches": True, "all_tags": True, "all_experiments": True}


def unused(repo: Repo) -> list[Leftover]:
    """Return what of the cache of a project, whose DVC is locked, can go. InputError if others may use the cache too,
    or if what is used cannot be told.
    """
    from dvc.exceptions import DvcException

    cache = Path(repo.cache.local_cache_dir).resolve()
    if not cache.is_relative_to(Path().resolve()):
        raise InputError(
            f"--cache: {cache} lies outside of this folder, so others may use it too: leave it out"
        )
    try:
        used = {(each.name, each.value) for one in _sharing(repo) for each in _used_by(one)}
    except DvcException as error:
        raise InputError(
            f"--cache: what is in use cannot be told ({line_of(error)}): leave it out"
        ) from error
    paths = [
        Path(odb.oid_to_path(oid))
        for _, odb in repo.cache.by_scheme()
        if odb and odb.fs.protocol == "local" and Path(odb.path).is_dir()
        for oid in odb.all()
        if (odb.hash_name, oid) not in used
    ]
    why = "no lock, branch, tag or experiment uses it"
    return [Leftover(tuple(sorted(paths)), "DVC's cache", why)] if paths else []


def _sharing(repo: Repo) -> Iterator[Repo]:
    """Yield the projects that share the cache."""
    from dvc.repo import Repo

    yield repo
    others = [Path(name) for name in projects.OPTIONAL] + sorted((STATE / "profiles").glob("*/"))
    for folder in others:
        if (folder / ".dvc").is_dir():
            with Repo(str(folder)) as other:
                yield other


def _used_by(repo: Repo) -> Iterator[HashInfo]:
    from dvc.scm import NoSCM

    yield from (each for objects in repo.used_objs().values() for each in objects)
    if not isinstance(repo.scm, NoSCM):
        # of what an old branch lists and is not here, nothing can be checked out anyway
        yield from (each for objects in repo.used_objs(**GIT, force=True).values() for each in objects)
