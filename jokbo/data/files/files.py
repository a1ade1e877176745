"""Which files `paths` of a source names: a file, a folder or a glob, on this machine or behind an fsspec URL.

On both sides the same files of a folder are taken, in the order of their names, and what is passed over is named. A
link to a folder is refused: DVC hashes data/local without following links, so it would not see a change behind one.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from jokbo.data.files import not_data
from jokbo.data.files.formats import fits
from jokbo.data.files.left_out import LeftOut
from jokbo.runtime.errors import InputError
from jokbo.runtime.regular import check_regular

LOCAL = Path("data/local")


def below_local(key: str, path: str, what: str) -> Path:
    """Return where a path below data/local is. Raises InputError, which says the key, for one that leads elsewhere.

    what: what is to be put there, in words.
    """
    if Path(path).is_absolute() or ".." in Path(path).parts:
        advice = f"give it relative to {LOCAL}, the folder whose changes DVC sees, and put {what} there"
        raise InputError(f"{key} is {path!r}: {advice}")
    return LOCAL / path


def local_files(root: Path, paths: str, format: str) -> list[Path | LeftOut]:
    """Return what `paths` names below `root`: a file, the files of a folder that fit the format, or a glob's matches.

    A name that exists as it is written is not read as a glob. First come the files by name, then what was passed over.
    Raises InputError for a linked folder, a broken link and what is not a file.
    """
    named = root / paths
    try:
        if named.is_dir():
            _check_way(named, root)
            found = list(_below(named))
            chosen = _fitting(found, format)
        elif os.path.lexists(named):
            chosen = [named]
        else:
            if "**" in paths:  # glob would follow links there, even in circles: this refuses them
                list(_below(_fixed_part(root, paths)))
            matches = sorted(root / path for path in set(glob.glob(paths, root_dir=root, recursive=True)))
            chosen = list(_of_a_glob(matches, root, paths))
        files = sorted(path for path in chosen if isinstance(path, Path))
        for path in files:
            _check_way(path, root)
            check_regular(path)
        return [*_once(files), *(path for path in chosen if isinstance(path, LeftOut))]
    except OSError as error:
        raise InputError(
            f"{error.filename or named} cannot be read: {error.strerror}; make it readable for you"
        ) from error


def remote_files(found: Mapping[str, str], pattern: str, format: str) -> list[str | LeftOut]:
    """Return the paths to be read, by name, then what is passed over.

    found: the type of each path, as fsspec gives it, of those that a glob matched or that are below a folder. Of a
    folder only the files that fit the format are read. pattern: the folder or the glob.
    """
    written = set(PurePosixPath(pattern).parts)
    chosen: list[str] = []
    passed: list[LeftOut] = []
    for path, kind in sorted(found.items()):
        reason = _reason(part for part in PurePosixPath(path).parts if part not in written)
        if "*" not in pattern and not reason and not fits(path, format):
            reason = f"not .{format}"
        if kind == "directory":
            if "**" in pattern:
                continue
            reason = reason or "a folder"
        passed.append(LeftOut(path, reason)) if reason else chosen.append(path)
    return [*chosen, *passed]


def _below(folder: Path) -> Iterator[Path | LeftOut]:
    """Yield all that is in a folder and in the folders below it."""
    for entry in os.scandir(folder):
        path = folder / entry.name
        if reason := not_data.why(entry.name):
            yield LeftOut(str(path), reason)
        elif entry.is_dir(follow_symlinks=False):
            yield from _below(path)
        else:
            _check_no_linked_folder(path)
            yield path


def _fitting(found: Iterable[Path | LeftOut], format: str) -> list[Path | LeftOut]:
    found = list(found)
    names = {str(path) for path in found if isinstance(path, Path)}
    for path in sorted(names):
        if path.endswith(".dvc") and fits(path[:-4], format) and path[:-4] not in names:
            raise InputError(f"{path} stands for a file that is not there: run `dvc pull {path}`")
    return [
        path if isinstance(path, LeftOut) or fits(path.name, format) else LeftOut(str(path), f"not .{format}")
        for path in found
    ]


def _of_a_glob(matches: Iterable[Path], root: Path, pattern: str) -> Iterator[Path | LeftOut]:
    written = set(Path(pattern).parts)  # what the user names is taken
    for path in matches:
        reason = _reason(part for part in path.relative_to(root).parts if part not in written)
        if path.is_dir():
            _check_no_linked_folder(path)
            reason = None if "**" in pattern else reason or "a folder"
            if not reason:
                continue
        yield LeftOut(str(path), reason) if reason else path


def _reason(parts: Iterable[str]) -> str | None:
    return next((reason for part in parts if (reason := not_data.why(part))), None)


def _fixed_part(root: Path, pattern: str) -> Path:
    """Return the folder before the first wildcard."""
    for part in Path(pattern).parts:
        if glob.has_magic(part) or not (root / part).is_dir():
            break
        root /= part
    return root


def _check_way(path: Path, root: Path) -> None:
    """Raise InputError if `path`, or a folder between `root` and it, is a linked folder."""
    while path != root:
        _check_no_linked_folder(path)
        path = path.parent


def _check_no_linked_folder(path: Path) -> None:
    if path.is_symlink() and path.is_dir():
        advice = "put a copy in its place (`cp -rL`), take it out, or name where it leads as a file:// URL"
        raise InputError(f"{path} is a link to a folder, behind which DVC would see no change: {advice}")


def _once(files: Iterable[Path]) -> Iterator[Path | LeftOut]:
    """Yield each file once, even if several links lead to it."""
    read: set[Path] = set()
    for path in files:
        whole = path.resolve()
        yield LeftOut(str(path), "a link to a file that is read") if whole in read else path
        read.add(whole)
