"""What bringing a project up to date would do: which stages would run, and why. Nothing is started.

DVC's status says what changed; its run cache, what would come from there. What a stage will read is known as far as the
stages before it are up to date or come from the cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dependency import ParamsDependency
from dvc.stage.cache import _get_cache_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile.hash_info import HashInfo

from flows import graph
from jokbo.runtime import ancestry
from jokbo.runtime.tracking import flat
from tasks.frame.identity import project

if TYPE_CHECKING:
    from dvc.repo import Repo

RUNS, MAYBE, CACHED, STAYS = "runs", "may run", "from the cache", "up to date"
NAMED = 3  # changes that are named; of more, the number
WORDS = {
    "deleted": "is not there",
    "modified": "changed",
    "new": "is new",
    "not in cache": "is not in the cache",
}


@dataclass(frozen=True)
class Planned:
    """What would become of a stage."""

    name: str
    what: str  # RUNS, MAYBE, CACHED or STAYS
    why: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)  # by dotted names, that it would run with
    alike: bool = True  # whether it had these in its last run
    bytes: int | None = None  # of the outputs that its last run left; None if there was none


def read(until: str | None = None, folder: Path = Path()) -> list[Planned]:
    """Return what would become of each stage of the folder's project, in the order in which they would run."""
    found = graph.read(until, folder, wait=False)
    with ExitStack() as stack:
        repos = {each: stack.enter_context(project(each)) for each in set(found.folders.values())}
        forecast = _Forecast(found)
        return [forecast.stage(name, repos[found.folders[name]]) for name in found.needs]


class _Forecast:
    """Goes through the stages in their order, and knows what those before left or will leave."""

    def __init__(self, found: graph.Graph) -> None:
        self.found = found
        self.planned: dict[str, Planned] = {}
        self.new: dict[Path, str | None] = {}  # what will be made, and its md5, if that is known now

    def stage(self, name: str, repo: Repo) -> Planned:
        """Return what would become of the stage, once those before it are up to date."""
        (stage,) = repo.stage.collect(name)
        sizes = [out.meta.size for out in stage.outs if out.meta and out.meta.size is not None]
        size = sum(sizes) if sizes else None
        changes = list(_changed(stage, self.found.changed.get(name, []), self.new))
        own = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
        params = {key: value for dep in own for key, value in _values(dep).items()}
        alike = not any(_of_params(dep) for dep in own)
        what, why = (STAYS, []) if name not in self.found.stale else self._stale(name, stage, repo, changes)
        self.planned[name] = Planned(name, what, tuple(why), params, alike, size)
        return self.planned[name]

    def _stale(self, name: str, stage: Any, repo: Repo, changes: list[str]) -> tuple[str, list[str]]:
        before = {dep.def_path: dep.hash_info for dep in stage.deps}
        known = all(self._foresee(dep) for dep in stage.deps)
        for out in stage.outs:
            self.new[Path(out.fs_path)] = None
        if known:
            if not changes and all(dep.hash_info == before[dep.def_path] for dep in stage.deps):
                for out in stage.outs:
                    del self.new[Path(out.fs_path)]
                return STAYS, ["its inputs come out as they were"]
            if (made := _cached(stage, repo)) is not None:
                self.new |= {Path(out.fs_path): made[out.def_path] for out in stage.outs}
                return CACHED, changes or self._upstream(name)
        return (RUNS if known or changes else MAYBE), [*changes, *self._upstream(name)]

    def _foresee(self, dep: Any) -> bool:
        """Give a dependency the hash that it will have when its stage is reached. Return whether that is known."""
        path = Path(dep.fs_path)
        if path in self.new:
            md5 = self.new[path]
            if md5:
                dep.hash_info = HashInfo("md5", md5)
            return md5 is not None
        if _concerned(path, self.new) or not dep.exists:
            return False
        dep.save()
        return True

    def _upstream(self, name: str) -> list[str]:
        before = [self.planned[other] for other in self.found.needs if other in self.found.needs[name]]
        said = {RUNS: "{} runs before it", MAYBE: "{} may run before it", CACHED: "{} comes from the cache"}
        ahead = [each for each in before if each.what in said]
        if len(ahead) < 2:
            return [said[each.what].format(each.name) for each in ahead]
        names, more = [each.name for each in ahead[:NAMED]], len(ahead) - NAMED
        return [f"before it: {', '.join(names)}" + (f" and {more} more" if more > 0 else "")]


def _cached(stage: Any, repo: Repo) -> dict[str, str] | None:
    """Return the outputs (path -> md5) that DVC would take from its run cache; None if it has not all of them.

    It keeps these functions private; tests/flows/test_plan.py holds this to what DVC then does.
    """
    key = _get_cache_hash(to_single_stage_lockfile(stage), key=True)
    files = sorted(Path(repo.stage_cache.cache_dir, key[:2], key).glob("*"), key=os.path.getmtime)
    entry = repo.stage_cache._load_cache(key, files[-1].name) if files else None
    if (
        not isinstance(entry, dict)
        or not repo.stage_cache._create_stage(entry, wdir=stage.wdir).outs_cached()
    ):
        return None
    return {out["path"]: out["md5"] for out in entry["outs"]}


def _changed(stage: Any, status: list[Any], new: Mapping[Path, str | None]) -> Iterator[str]:
    """Yield what changed since a stage last ran, as DVC's status has it, but for what stages before it will make."""
    if not any(dep.hash_info for dep in stage.deps):
        yield "it has not run yet"
        return
    found = [
        name for item in status if isinstance(item, dict) for name in item.get("changed outs", {}).items()
    ]
    found += [
        name for item in status if isinstance(item, dict) for name in item.get("changed deps", {}).items()
    ]
    by_path = {str(dep): dep for dep in stage.deps}
    lines = ["its command changed"] * ("changed command" in status)
    for path, state in found:
        dep = by_path.get(path)
        if isinstance(dep, ParamsDependency):
            lines += _of_params(dep)
        elif dep is None or not _concerned(Path(dep.fs_path), new):
            code = "code: " if dep is not None and ancestry.is_code(dep.def_path) else ""
            lines.append(f"{code}{path} {WORDS.get(state, state)}")
    yield from lines[:NAMED]
    if len(lines) > NAMED:
        yield f"{len(lines) - NAMED} changes more"


def _concerned(path: Path, new: Mapping[Path, str | None]) -> bool:
    """Return whether a path is one of those that will be made, lies in one, or has one in it."""
    return any(path == each or path in each.parents or each in path.parents for each in new)


def _of_params(dep: Any) -> list[str]:
    before, now = flat(dep.hash_info.value or {}), _values(dep)
    return [
        f"{key}: {now.get(key, 'not there')}, was {before.get(key, 'not there')}"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]


def _values(dep: Any) -> dict[str, Any]:
    """Return the parameters as they stand now, by their dotted names."""
    return flat(dep.read_params())
