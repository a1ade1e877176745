"""What dvc.lock, params.yaml and the kept metrics of a git revision, or of a project's folder, tell of its stages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc.utils.serialize import parse_yaml

from jokbo.runtime import ancestry
from jokbo.runtime.ancestry import Record
from jokbo.runtime.changes import commit_of, git, text_at
from jokbo.runtime.errors import InputError
from jokbo.team.comparing import facts
from jokbo.team.comparing.facts import WHOLE, Facts, Made
from tasks.frame import lockfile, projects
from tasks.frame.paths import KEPT_TABLE, METRICS, PROFILES

Reads = Callable[[str], str | None]  # a file of the revision by its path -> its text


def of_revision(name: str) -> Made | None:
    """Return what a git revision tells; None if git knows none of this name."""
    if (commit := commit_of(name)) is None:
        return None
    kept = git("ls-tree", "--name-only", commit, f"./{PROFILES}/").split()
    return _made(name, lambda path: text_at(commit, path), kept)


def of_project(folder: Path) -> Made | None:
    """Return what a project's folder tells, as it stands; None if nothing ran there."""
    if not (folder / lockfile.LOCK).is_file():
        return None

    def read(path: str) -> str | None:
        with suppress(OSError):
            return (folder / path).read_text("utf-8")
        return None

    kept = [file.relative_to(folder).as_posix() for file in sorted((folder / PROFILES).glob("*.json"))]
    return _made(str(folder), read, kept)


def of_seeds(folder: Path) -> Made | None:
    """Return what the projects of several seeds tell, as `python -m flows.seeds` leaves them; None if none."""
    numbered = sorted(
        (path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name)
    )
    made = [found for path in numbered if (found := of_project(path))]
    return facts.together(str(folder), made) if made else None


def _made(name: str, read: Reads, kept: list[str]) -> Made:
    text = read(str(lockfile.LOCK))
    if text is None:
        raise InputError(f"{name} has no {lockfile.LOCK}: name a revision at which the chain had run")
    entries = lockfile.parsed(text)
    if entries is None:
        raise InputError(f"{name}: its {lockfile.LOCK} is not whole: name another revision")
    params = parse_yaml(read("params.yaml") or "{}", "params.yaml")
    tables = [*(f"{folder}/{KEPT_TABLE}" for folder in projects.OPTIONAL), *kept]
    measured = {path: json.loads(read(path) or "{}") for path in tables if path.endswith(".json")}
    own = Facts(parameters=facts.parameters(params), metrics=[facts.numbers(measured)])
    with Repo() as repo:
        cached = repo.cache.local.oid_to_path
        stages = {stage: _stage(stage, entry, cached) for stage, entry in entries.items()}
    return Made(name, {WHOLE: own, **stages}, whole=True)


def _stage(name: str, entry: Mapping[str, Any], cached: Callable[[str], str]) -> Facts:
    """Return what an entry of dvc.lock tells, and what DVC's cache has of the outputs that it names."""
    outs = {out["path"]: Path(cached(out["md5"])) for out in entry.get("outs", [])}
    records = [
        Record.read(file) for path, file in outs.items() if path.endswith(ancestry.SUFFIX) and file.is_file()
    ]
    inputs = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    weights = {path: hash for record in records for path, hash in record.parents.items()}
    params = {key: value for part in entry.get("params", {}).values() for key, value in part.items()}
    measured = outs.get(f"{METRICS}/{name}.json")
    return Facts(
        parameters=facts.parameters(params),
        environment=facts.environment(records[0].environments) if records else None,
        metrics=[facts.numbers(json.loads(measured.read_text()))]
        if measured and measured.is_file()
        else None,
        **facts.of_inputs(inputs, weights),
    )
