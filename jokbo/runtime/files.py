"""Files and folders that are whole or as they were, and one line where the disk takes no more."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from jokbo.runtime.errors import BAD_INPUT, InputError

SPACE, RIGHT = "free some space on its disk", "make it readable and writable for you"
REMEDIES = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit on the size of a file (`ulimit -f`)",
    errno.EROFS: "put the project on a disk that can be written to",
    errno.EACCES: RIGHT,
    errno.EPERM: RIGHT,
}
# safetensors, tokenizers, sqlite and torch raise errors of their own, which have no errno
WORDS = {os.strerror(number): remedy for number, remedy in REMEDIES.items() if remedy is not RIGHT} | {
    "disk is full": SPACE,
    "file write failed": SPACE,
    "readonly database": RIGHT,
}
PARTIAL = ".partial"  # how the names of files that are being written end; .dvcignore has it too


@contextmanager
def atomic_write_file(path: Path) -> Iterator[IO[str]]:
    """Yield a text file beside `path` to write into; it takes the place of `path` if the block ends well.

    Otherwise what stood at `path` stays. Raises InputError if the disk refuses it.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("w", encoding="utf-8", newline="") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file as `atomic_write_file` does."""
    with atomic_write_file(path) as file:
        file.write(text)


@contextmanager
def atomic_write_folder(path: Path) -> Iterator[Path]:
    """Yield an empty sibling of `path` to write into; it takes the place of `path` if the block ends well.

    After an exception neither the sibling nor a new `path` is left; what stood at `path` before stays.
    Raises InputError if the disk refuses it.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    with writing(path):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            shutil.rmtree(path, ignore_errors=True)
            os.rename(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def read_json(path: Path, remedy: str = "run `make pipeline`, which makes it again") -> Any:
    """Return what a JSON file that is needed holds. InputError, with the remedy, if it is not there or not whole."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: not there: {remedy}") from None
    except ValueError as error:
        raise InputError(f"{path}: not whole ({error}): {remedy}") from error


def read_if_there(path: Path) -> Any:
    """Return what a JSON file holds that only saves time; None if it is not there, or not whole."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None


class Saved:
    """The base of a frozen dataclass that one stage saves in a JSON file and others load. STAGE is that stage."""

    STAGE: ClassVar[str]

    def save(self, path: Path) -> None:
        """Write the fields, in their order, as JSON."""
        tree = asdict(self)  # pyright: ignore[reportArgumentType]
        write_text(path, json.dumps(tree, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what a file holds. InputError if it is not there, or holds something else."""
        remedy = f"run the stage {cls.STAGE}"
        try:
            return TypeAdapter(cls).validate_python(read_json(path, remedy))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"{path}: {where}: {first['msg']}: {remedy}") from error


@contextmanager
def locked(path: Path, taken: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file. If another process holds it, call `taken`, and wait unless that raises."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            taken()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def in_one_line() -> Iterator[None]:
    """End this process with one line and status 2, without a traceback, for what only the user can mend."""
    try:
        yield
    except Exception as error:
        if (line := reason_of(error)) is None:
            raise
        print(f"jokbo: {line}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def reason_of(error: BaseException) -> str | None:
    """Return what only the user can mend, in one line: bad input, or what the disk refused. None for another error."""
    return str(error) if isinstance(error, InputError) else refusal(error)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make an InputError that names `path`, or the file that was refused, of what the disk refuses within the block."""
    try:
        yield
    except Exception as error:
        line = refusal(error, path)
        if line is None or isinstance(error, InputError):
            raise
        raise InputError(line) from error


def refusal(error: BaseException, path: Path | None = None) -> str | None:
    """Return one line on what the disk refused: the file, or `path`, why, and what to do.

    None if the error is another.
    """
    chain = list(_chain(error))
    lines = filter(None, (_refused(link, path) for link in chain))
    said = (str(link) for link in chain if isinstance(link, InputError))  # by `writing`, nearer to it
    return (line := next(lines, None)) and next(said, line)


def _refused(error: BaseException, path: Path | None) -> str | None:
    if isinstance(error, OSError):
        if error.errno is None or (remedy := REMEDIES.get(error.errno)) is None:
            return None
        return _line(error.filename2 or error.filename, path, os.strerror(error.errno), remedy)
    known = (words for words in WORDS if words in str(error))
    return (words := next(known, None)) and _line(None, path, words, WORDS[words])


def _line(found: Any, path: Path | None, reason: str, remedy: str) -> str:
    known = isinstance(found, str | os.PathLike) and PARTIAL not in str(found)
    return f"{found if known else path or _full()}: {reason}: {remedy}, and run again"


def _full() -> Path:
    """Return the first folder of those that everything writes to whose disk has next to no room; else this one."""
    here, temporary = Path.cwd(), Path(tempfile.gettempdir())
    return next((folder for folder in (here, temporary) if shutil.disk_usage(folder).free < 2**20), here)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the errors that led to this one, the first of them first."""
    if error is not None:
        yield from _chain(error.__cause__ or error.__context__)
        for inner in getattr(error, "exceptions", ()):
            yield from _chain(inner)
        yield error
