"""The project at a commit, in a git worktree of its own: stages run there, and nothing of this folder changes.

It is in .jokbo/reproduced. It shares this project's DVC cache, of which it only reads, and has a .jokbo of its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.config import Config, NoRemoteError
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile import load
from dvc_data.hashfile.build import build
from dvc_data.hashfile.checkout import CheckoutError, checkout
from dvc_data.hashfile.hash_info import HashInfo
from dvc_objects.errors import ObjectFormatError

from flows.supervise import follow
from jokbo.params import reading
from jokbo.runtime import ancestry, environment, run_record
from jokbo.runtime.changes import git
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_if_there
from jokbo.runtime.launcher import cores
from jokbo.runtime.mlflow_store import reason
from jokbo.runtime.run_record import Account, RunRecord
from tasks.frame import checks, projects
from tasks.frame.identity import of_entry
from tasks.frame.paths import STATE, search_path

FOLDER = STATE / "reproduced"
NOT_THERE = (FileNotFoundError, ObjectFormatError, CheckoutError)  # what DVC says of what its cache has not


@dataclass(frozen=True)
class Worktree:
    """A project laid out at a commit; `root` is the folder of its chain."""

    root: Path
    uri: str  # of the MLflow store that its runs go to

    def graph(self) -> tuple[dict[str, set[str]], dict[str, list[str]]]:
        """Return of each stage of the chain, those that it needs, all of them, and the paths that it writes."""
        with _repo(self.root) as repo:
            graph = repo.index.graph
            names = {stage: stage.addressing.rpartition(":")[2] for stage in graph}
            needs = {name: {names[other] for other in graph[stage]} for stage, name in names.items()}
            return needs, {name: [out.def_path for out in stage.outs] for stage, name in names.items()}

    def bring(self, record: RunRecord, made_here: set[str]) -> None:
        """Put there what the run read, but for the outputs `made_here`: by hash, from DVC's cache or remote, or as it
        is in this folder. InputError, in one line, if it is nowhere.
        """
        with _repo(self.root / record.folder) as repo:
            stage = _stage(repo, record.stage)
            for dep in stage.deps:
                md5 = record.deps.get(dep.def_path)
                path = Path(dep.def_path)
                made = any(path == Path(out) or path in Path(out).parents for out in made_here)
                if md5 and not made and not ancestry.is_code(dep.def_path):
                    _place(repo, dep, md5, record.folder / path)

    def cached(self, md5: str | None) -> Path | None:
        """Return the file with this hash, in DVC's cache or brought from its remote; None if it is nowhere."""
        if md5 is None:
            return None
        with _repo(self.root) as repo:
            file = Path(repo.cache.local.oid_to_path(md5))
            if not file.is_file():
                _pull(repo, HashInfo("md5", md5))
            return file if file.is_file() else None

    def surroundings(self, record: RunRecord) -> dict[str, Any]:
        """Return the environment in which the run would be repeated, as far as that can be known before it is."""
        before = record.environments[-1] if record.environments else {}
        if "capability" in before:
            import torch  # it tells the threads and what of the processor is used  # noqa: F401
        compute = reading.read(self.root / "params.yaml").get("compute", {})
        ranks = compute.get("processes", 1) if before.get("ranks", 1) > 1 else 1
        own = environment.collect(
            ranks=ranks, zero_stage=compute.get("zero_stage"), compiled=compute.get("compile")
        )
        if ranks > 1 and "OMP_NUM_THREADS" not in os.environ:  # which the launcher sets then
            own["threads"] = max(1, cores() // ranks)
            own["variables"] = {**own["variables"], "OMP_NUM_THREADS": str(own["threads"])}
        return own

    def run(self, record: RunRecord, line: Callable[[str], None]) -> int:
        """Run the stage's command there, as DVC would; return its exit status."""
        folder = self.root / record.folder
        with _repo(folder) as repo:
            stage = _stage(repo, record.stage)
            command = stage.cmd
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "JOKBO_"))}
        given = {"MLFLOW_TRACKING_URI": self.uri, checks.STAGES: record.stage, "PATH": search_path()}
        return follow(
            ["sh", "-c", command], {**kept, **given, "PYTHONUNBUFFERED": "1"}, line, lambda: False, folder
        )

    def account(self, record: RunRecord) -> Account:
        """Return what the stage that just ran there was made from, and made."""
        folder = self.root / record.folder
        with _repo(folder) as repo:
            stage = _stage(repo, record.stage)
            stage.save_deps()
            identity = of_entry(to_single_stage_lockfile(stage))
            outs = {out.def_path: out.get_hash().value for out in stage.outs if out.exists}
        kept = run_record.place(self.root / STATE, record.stage, identity.key)
        if kept.is_dir():
            return Account.load(kept)
        # code from before runs kept a record
        ended = read_if_there(self.root / STATE / "timings" / f"{record.stage}.json") or {}
        made_in = read_if_there(self.root / STATE / "environments" / f"{record.stage}.json") or {}
        own = RunRecord(
            record.stage,
            identity.key,
            record.folder,
            ended.get("run"),
            record.commit,
            {},
            identity.params,
            identity.deps,
            outs,
            made_in.get("environments", []),
        )
        return Account(own, "", {})


@contextmanager
def laid_out(commit: str, diff: str, uri: str, *, keep: bool) -> Iterator[Worktree]:
    """Yield the project at a commit with a diff applied; it is removed afterwards unless it is to be kept.

    InputError if the diff does not fit the commit.
    """
    _sweep()
    top, prefix = Path(git("rev-parse", "--show-toplevel")), git("rev-parse", "--show-prefix")
    place = (FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{commit[:7]}-{uuid.uuid4().hex[:4]}").resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with _held(place):
        try:
            git("worktree", "add", "--detach", "--quiet", str(place), commit, folder=top)
            _apply(diff, place, commit)
            root = place / prefix
            for project in (Path(), *map(Path, projects.OPTIONAL)):
                if (root / project / ".dvc").is_dir():
                    _configure(project, root / project)
            yield Worktree(root, uri)
        except LookupError as error:
            raise InputError(f"{commit[:12]}: {error}") from error
        finally:
            if keep and place.is_dir():
                print(f"jokbo: kept: {place} (`git worktree remove --force` takes it away)", file=sys.stderr)
            else:
                _remove(place)


def _apply(diff: str, place: Path, commit: str) -> None:
    if not diff:
        return
    given = diff.encode("utf-8", "surrogateescape")
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    applied = subprocess.run(command, cwd=place, input=given, capture_output=True)
    if applied.returncode:
        why = applied.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise InputError(
            f"the saved diff does not fit {commit[:12]} ({why}): a line that it replaces may have held a secret, which "
            "is *** in the diff"
        )


def _configure(own: Path, new: Path) -> None:
    """Give the project there this one's cache, and its settings that git does not see, such as keys of a remote."""
    with Repo(str(own)) as repo:
        cache = repo.cache.legacy.path  # without the folders of its own layout
    local, there = Config(str(own / ".dvc"), validate=False), Config(str(new / ".dvc"), validate=False)
    edited: Any = there.edit("local")
    with edited as settings:
        settings.update(local.load_one("local"))
        settings["cache"]["dir"] = cache
    Path(there.files["local"]).chmod(0o600)


@contextmanager
def _repo(folder: Path) -> Iterator[Repo]:
    try:
        with Repo(str(folder)) as repo:
            yield repo
    except DvcException as error:
        raise InputError(f"{folder / 'dvc.yaml'}: {' '.join(str(error).split())}") from error


def _stage(repo: Repo, name: str) -> Any:
    """Return a stage of a project that is not the current folder's: DVC looks for a bare name there."""
    (stage,) = repo.stage.collect(f"{Path(repo.root_dir, 'dvc.yaml')}:{name}")
    return stage


def _place(repo: Repo, dep: Any, md5: str, here: Path) -> None:
    """Put what has this hash at the path of a dependency, unless git has done so."""
    cache, hash = repo.cache.local, HashInfo("md5", md5)
    if dep.exists and dep.get_hash() == hash:
        return

    def from_cache() -> None:
        checkout(dep.fs_path, dep.fs, load(cache, hash), cache, force=True, state=repo.state)

    try:
        from_cache()
    except NOT_THERE:
        shutil.rmtree(dep.fs_path, ignore_errors=True)
        if _copied(here, md5, Path(dep.fs_path)):
            return
        why = _pull(repo, hash)
        try:
            from_cache()
        except NOT_THERE:
            raise InputError(
                f"{here} as it was then ({md5[:8]}): neither in DVC's cache nor in its remote{why} nor in this "
                "folder: take it from whoever ran this"
            ) from None


def _pull(repo: Repo, md5: HashInfo) -> str:
    """Bring what has this hash from the remote to the cache, if it has it; return why it cannot be asked, in words that
    follow "its remote"."""
    try:
        repo.cloud.pull([md5])
    except NoRemoteError:
        return ", of which there is none,"
    except Exception as error:  # whatever the remote's own library raises
        return f" ({reason(error)})"
    return ""


def _copied(here: Path, md5: str, target: Path) -> bool:
    """Copy a path of this folder, such as the user's own files, if it has this hash."""
    if not here.exists():
        return False
    with Repo(str(projects.root())) as repo:
        odb = repo.cache.local
        ignored: Any = repo.dvcignore  # which build's own type for it does not fit
        _, _, found = build(odb, str(here.resolve()), odb.fs, "md5", ignore=ignored, dry_run=True)
        if found.hash_info.value != md5:
            return False
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if here.is_dir() else shutil.copy2)(here, target)
    return True


@contextmanager
def _held(place: Path) -> Iterator[None]:
    """Hold a worktree, so that no other process sweeps it."""
    lock = _lock(place)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _sweep() -> None:
    """Remove worktrees whose process was killed."""
    for lock in FOLDER.glob("*.lock"):
        with lock.open("a") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(lock.with_suffix("").resolve())
            lock.unlink(missing_ok=True)


def _lock(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    with suppress(LookupError):
        git("worktree", "prune")
