"""The runs that led to one: which stages it needs, and what dvc.lock and the records of runs say of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jokbo.runtime.changes import commit_of, text_at
from jokbo.runtime.errors import InputError
from jokbo.runtime.run_record import Account, RunRecord
from jokbo.team import runs
from jokbo.team.reproducing import origins
from tasks.frame import lockfile
from tasks.frame.identity import of_entry
from tasks.frame.lockfile import LOCK
from tasks.frame.paths import STATE


@dataclass(frozen=True)
class Origin:
    """The run that is to be repeated, and the code that it ran with."""

    account: Account
    commit: str
    diff: str


def find(name: str, stage: str | None) -> Origin:
    """Return what is meant by an MLflow run, a registered model, a model's folder or a git revision; of a revision the
    `stage`. InputError if there is none.
    """
    if not runs.WHOLE_ID.fullmatch(name) and (revision := commit_of(name)):
        return Origin(_of_revision(revision, stage or "report"), revision, "")
    if Path(name).is_dir():
        account = origins.of_model(Path(name), STATE)
    elif run := runs.find(name):
        account = origins.of_run(run, STATE)
    else:
        kinds = "no run of MLflow, registered model (NAME/VERSION), folder of a model or git revision"
        raise InputError(f"{name}: {kinds} is called that")
    if stage not in (None, account.record.stage):
        raise InputError(f"--stage {stage}: {name} is of {account.record.stage}: leave it out")
    record = account.record
    if record.commit.startswith(origins.UNKNOWN):
        raise InputError(f"{name}: its commit is {record.commit}: nothing tells the code that it ran with")
    if commit_of(record.commit) is None:
        raise InputError(
            f"{name}: its commit {record.commit[:12]} is not in this clone: `git fetch` it first"
        )
    return Origin(account, record.commit, account.diff)


def ancestors(origin: Origin, needs: Mapping[str, set[str]], outs: Mapping[str, list[str]]) -> list[Account]:
    """Return the accounts of all runs that the origin's stage rests on, its own last. InputError if one is not known.

    `needs` has the stages that each stage needs, `outs` the paths that each writes.
    """
    found: dict[str, Account] = {}

    def add(account: Account) -> None:
        for other in sorted(needs[account.record.stage]):
            read = [path for path in outs[other] if path in account.record.deps]
            if other not in found:
                add(_maker(origin, other, read, account.record))
        found[account.record.stage] = account

    add(origin.account)
    return list(found.values())


def _maker(origin: Origin, stage: str, read: list[str], record: RunRecord) -> Account:
    """Return the account of the run of `stage` that made what the record's run has read."""
    for entries in (_locked(origin.commit), _locked(None)):
        if entry := entries.get(stage):
            made = _account(stage, entry, origin.commit)
            if all(made.record.outs.get(path) == record.deps[path] for path in read):
                return made
    if read and (account := origins.made_by(stage, read[0], record.deps[read[0]], STATE)):
        return account
    raise InputError(
        f"{stage}: no record of the run that made {', '.join(read) or 'its outputs'} for {record.stage}: neither "
        "dvc.lock nor MLflow has it"
    )


def _of_revision(commit: str, stage: str) -> Account:
    entries = _locked(commit)
    if stage not in entries:
        known = ", ".join(entries) or "nothing"
        raise InputError(f"{commit[:12]}: its dvc.lock says nothing of the stage {stage}: it has {known}")
    return _account(stage, entries[stage], commit)


def _account(stage: str, entry: Mapping[str, Any], commit: str) -> Account:
    """Return the account of the run that an entry of dvc.lock is of; without trails if nothing else is known of it."""
    identity = of_entry(entry)
    outs = {out["path"]: out["md5"] for out in entry.get("outs", [])}
    known = origins.of_key(stage, identity.key, STATE)
    if known and known.record.outs == outs:
        return known
    bare = RunRecord(stage, identity.key, ".", None, commit, {}, identity.params, identity.deps, outs, [])
    return Account(bare, "", {})


def _locked(commit: str | None) -> dict[str, Any]:
    """Return the stages in the dvc.lock of a commit, or in this folder's."""
    if commit is None:
        return lockfile.parsed(LOCK.read_text("utf-8")) or {} if LOCK.exists() else {}
    return lockfile.parsed(text_at(commit, LOCK) or "") or {}
