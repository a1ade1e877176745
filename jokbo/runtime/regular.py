"""What is neither a file nor a folder nor a link to one: nobody can read it, and DVC waits for ever on a pipe."""

from __future__ import annotations

import os
from pathlib import Path

from jokbo.runtime.errors import InputError


def check_regular(path: Path) -> None:
    """Raise InputError if `path` is a broken link, a pipe, a socket or a device."""
    if path.is_file():
        return
    if path.is_symlink():
        leads = os.readlink(path)
        advice = "`git annex get` gets it" if ".git/annex/" in leads else "mend it, or take it out"
        raise InputError(f"{path} is a link to {leads}, which is not there: {advice}")
    raise InputError(f"{path} is no file (a pipe, a socket, a device?): take it out")


def check_all_regular(folder: Path) -> None:
    """Raise InputError for the first such thing below a folder, or for a name that is not UTF-8, which DVC can't write
    down."""
    for location, folders, names in os.walk(folder):
        for name in sorted([*folders, *names]):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InputError(
                    f"{location}: the name {os.fsencode(name)!r} is not UTF-8: rename it"
                ) from None
        for name in sorted(names):
            check_regular(Path(location, name))
