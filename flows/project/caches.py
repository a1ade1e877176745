"""Which objects of DVC's cache nothing uses: no dvc.lock of this project or of those that share its cache, and no
branch, tag or experiment of theirs, as `dvc gc` has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.project.leftovers import Leftover
from jokbo.runtime.errors import InputError, line_of
from tasks.frame import projects
from tasks.frame.identity import project
from tasks.frame.paths import STATE

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo


@contextmanager
def unused() -> Iterator[list[Leftover]]:
    """Yield what of this project's cache can go, while no DVC of those that share it can put anything there.

    InputError if others may use the cache too, or if what is used cannot be told.
    """
    with ExitStack() as stack:
        own, *others = (stack.enter_context(project(folder)) for folder in _sharing())
        cache = Path(own.cache.local_cache_dir).resolve()
        if not cache.is_relative_to(Path().resolve()):
            raise InputError(
                f"--cache: {cache} is outside of this folder, so others may use it too: leave it out"
            )
        try:
            used = {(each.name, each.value) for one in (own, *others) for each in _used_by(one)}
        except Exception as error:  # DVC raises what it happens on in the lock of an old branch
            raise InputError(
                f"--cache: what is in use can't be told ({line_of(error)}): leave it out"
            ) from error
        paths = tuple(sorted({path for name, path in _objects(own) if name not in used}))
        why = "no lock, branch, tag or experiment uses it"
        yield [Leftover(paths, "DVC's cache", why)] if paths else []


def _sharing() -> Iterator[Path]:
    """Yield the folders of the projects that share the cache, this one first."""
    yield Path()
    for folder in (*map(Path, projects.OPTIONAL), *sorted((STATE / "profiles").glob("*/"))):
        if (folder / ".dvc").is_dir():
            yield folder


def _objects(repo: Repo) -> Iterator[tuple[tuple[str, str], Path]]:
    """Yield every object of the cache by kind of hash and hash, and its file; some come twice."""
    for _, objects in repo.cache.by_scheme():
        if objects and objects.fs.protocol == "local" and Path(objects.path).is_dir():
            yield from (
                ((objects.hash_name, each), Path(objects.oid_to_path(each))) for each in objects.all()
            )


def _used_by(repo: Repo) -> Iterator[HashInfo]:
    from dvc.scm import NoSCM

    yield from (each for objects in repo.used_objs().values() for each in objects)
    if not isinstance(repo.scm, NoSCM):
        # `force`: of what an old branch lists and is not here, nothing can be checked out anyway
        of_git = repo.used_objs(all_branches=True, all_tags=True, all_experiments=True, force=True)
        yield from (each for objects in of_git.values() for each in objects)
