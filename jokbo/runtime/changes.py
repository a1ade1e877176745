"""What differs from the commit that a run was made at: the diff that, applied to that commit, gives its code again.

The diff has the tracked changes, and the files of code and parameters that git neither tracks nor ignores. Other files
that git does not know are only named: they may be a user's own texts, or keys. Nothing of `.dvc` is in it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from jokbo.runtime import ancestry
from jokbo.runtime.secrets import hidden

LIMIT = 2**20  # bytes of a diff
SETTINGS = ("params.yaml", "dvc.yaml")
_WITHOUT = ":(top,exclude,glob)**/.dvc/**"


@dataclass(frozen=True)
class Changes:
    """What differs from a commit."""

    commit: str  # or "unknown (WHY)"
    diff: str = ""  # for `git apply`
    untracked: list[str] = field(default_factory=list)  # all that git neither tracks nor ignores
    left_out: dict[str, int] = field(
        default_factory=dict
    )  # of the diff, as it would be too long: path -> bytes
    hides: bool = False  # a secret in a URL, so that the diff gives other files than those that ran

    def notes(self) -> list[str]:
        """Return what the diff does not say, a line each."""
        left = ", ".join(f"{path} ({size:,} bytes)" for path, size in self.left_out.items())
        return [f"left out of the diff, which may have {LIMIT:,} bytes: {left}"] if left else []


def collect(without: Sequence[str] = ()) -> Changes:
    """Return what differs from the last commit in the repository of the current folder, but for what the pathspecs
    `without` name. LookupError, with the first line of why, if git can't say.
    """
    commit, top, here = (git("rev-parse", what) for what in ("HEAD", "--show-toplevel", "--show-prefix"))
    specs = ["--", ":/", _WITHOUT, *without]
    untracked = _listed(git("ls-files", "-z", "--others", "--exclude-standard", *specs, folder=top))
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder, "index")  # the user's own stays as it is
        own = Path(git("rev-parse", "--path-format=absolute", "--git-path", "index"))
        if own.is_file():
            shutil.copy(own, index)
        known = {"GIT_INDEX_FILE": str(index)}
        if added := [path for path in untracked if _matters(path.removeprefix(here))]:
            git("add", "--intent-to-add", "--", *added, folder=top, **known)
        options = ["--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"]
        whole = git("diff", "HEAD", *options, *specs, folder=top, **known)
    diff, left_out = _within(hidden(whole))
    return Changes(commit, diff, untracked, left_out, hides=hidden(whole) != whole)


def git(*arguments: str, folder: str | Path = ".", **environment: str) -> str:
    """Return what git says, without the end of its last line. LookupError, with the first line of why, if it can't."""
    return _said(*arguments, folder=folder, **environment).strip("\n")


def _said(*arguments: str, folder: str | Path = ".", **environment: str) -> str:
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
        )
    except OSError as error:
        raise LookupError(f"no git program: {error.strerror}") from error
    if result.returncode:
        said = result.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise LookupError(f"git: {said.removeprefix('fatal: ')}")
    return result.stdout.decode("utf-8", "surrogateescape")


def commit_of(revision: str) -> str | None:
    """Return the commit that a git revision is; None if git knows none of this name."""
    with suppress(LookupError):
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return None


def text_at(commit: str, path: str | Path) -> str | None:
    """Return a file as it was at a commit, its path from the current folder; None if it was not there."""
    with suppress(LookupError):
        return _said("show", f"{commit}:./{path}")
    return None


def _matters(path: str) -> bool:
    return ancestry.is_code(path) or Path(path).name in SETTINGS


def _listed(text: str) -> list[str]:
    return sorted(filter(None, text.split("\0")))


def _within(diff: str) -> tuple[str, dict[str, int]]:
    """Return as much of a diff as may be kept, its smallest files; and the size of what it says of each other."""
    pieces = re.split(r"^(?=diff --git )", f"{diff}\n", flags=re.M)[1:]
    sizes = [len(piece.encode("utf-8", "surrogateescape")) for piece in pieces]
    room, kept = LIMIT, set()
    for number in sorted(range(len(pieces)), key=lambda number: sizes[number]):
        if sizes[number] <= room:
            room -= sizes[number]
            kept.add(number)
    left = {_path(pieces[number]): sizes[number] for number in range(len(pieces)) if number not in kept}
    return "".join(pieces[number] for number in sorted(kept)), left


def _path(piece: str) -> str:
    return piece.partition("\n")[0].rpartition(" b/")[2]
