"""dvc.lock stays whole: a copy of the last whole one is kept, and put back where a kill left half of one.

DVC writes dvc.lock in place. `python -m flows.dvc`, by which flows run DVC, does not; `dvc` as a user types it does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import write_text
from tasks.frame.paths import STATE

LOCK = Path("dvc.lock")
COPY, BROKEN = STATE / "dvc.lock", STATE / "dvc.lock.broken"
CONFLICT = "<<<<<<< "  # git's mark


def settle(folder: Path = Path()) -> None:
    """Keep a copy of the folder's dvc.lock if it is whole, else mend it and say so. Call it while you hold DVC's lock.

    It is mended from the copy, else from git; where neither has one, no stage had ended in this folder before the one
    that was cut short. Raises InputError for a merge that git left to the user.
    """
    lock, copy = folder / LOCK, folder / COPY
    if not lock.exists():
        return
    text = lock.read_text("utf-8", errors="replace")
    before = copy.read_text("utf-8", errors="replace") if copy.exists() else ""
    if text == before:
        return
    cut = before.startswith(text) and parsed(before) is not None  # at the end of a line, maybe
    if not cut and parsed(text) is not None:
        write_text(copy, text)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(CONFLICT):
            raise InputError(
                f"{lock}: line {number}: a merge conflict: take one side whole (`git checkout --ours {lock}`, or "
                f"`--theirs`) and run again: stages that it does not fit are run"
            )
    _mend(folder, text, before)


def parsed(text: str) -> dict[str, Any] | None:
    """Return the stages in the text of a dvc.lock; None if it is not whole."""
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import parse_yaml

    if not text.endswith("\n"):
        return None
    with suppress(DvcException):
        stages = Lockfile.validate(parse_yaml(text, LOCK), str(LOCK)).get("stages")
        if stages is not None:
            paths = [
                path for stage in stages.values() for key in ("deps", "outs") for path in stage.get(key, [])
            ]
            return stages if all("md5" in path for path in paths) else None
    return None


def settle_readers(folder: str) -> None:
    """Remove DVC's list of who reads and writes what, if a kill left half of it: no DVC starts with that.

    Call it while you hold DVC's lock."""
    from dvc.rwlock import RWLOCK_FILE

    path = Path(folder) / RWLOCK_FILE
    try:
        json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        pass
    except ValueError:
        path.unlink()


def _mend(folder: Path, broken: str, before: str) -> None:
    lock, kept = folder / LOCK, folder / BROKEN
    write_text(kept, broken)
    known = {
        f"it is as it was, from {folder / COPY}": before,
        "it is as in git's last commit": _committed(folder),
    }
    whole = {said: text for said, text in known.items() if parsed(text) is not None}
    said, text = next(iter(whole.items()), ("it begins anew, for no stage had ended here before", None))
    if text is None:
        lock.unlink()
    else:
        write_text(lock, text)
    print(
        f"jokbo: {lock} was half written by a DVC that was killed: {said}; {kept} has what was found",
        file=sys.stderr,
        flush=True,
    )


def _committed(folder: Path) -> str:
    show = ["git", "show", f"HEAD:./{LOCK}"]
    with suppress(OSError):  # no git
        return subprocess.run(show, cwd=folder, capture_output=True, text=True).stdout
    return ""
