"""Files as they are stored, compressed or not: their bytes, decompressed as the suffix of the name tells."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import pyarrow as pa

from jokbo.data import not_data

UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)  # what damaged files raise
PIECE = 2**20


@contextmanager
def opened(file: Path, place: str, *, seeks: bool) -> Iterator[io.BufferedReader]:
    """The file's content, decompressed as the suffix of `place` tells; copied out if the reader seeks in it.

    Raises InputError if a pointer or an error page stands there instead, compressed or not.
    """
    # of a URL, the query is no part of the name
    suffix = PurePath(place.partition("?")[0] if "://" in place else place).suffix.lower()
    with file.open("rb") as raw:
        not_data.check_stand_in(raw.peek(not_data.HEAD)[: not_data.HEAD], place)
        if suffix not in COMPRESSIONS:
            yield raw
            return
        with io.BufferedReader(COMPRESSIONS[suffix](raw), PIECE) as stream:
            not_data.check_stand_in(stream.peek(not_data.HEAD)[: not_data.HEAD], place)
            if not seeks:
                yield stream
                return
            with tempfile.TemporaryFile() as whole:
                shutil.copyfileobj(stream, whole, PIECE)
                whole.seek(0)
                yield whole


def _only_member(raw: BinaryIO) -> BinaryIO:
    archive = zipfile.ZipFile(raw)
    members = [member for member in archive.infolist() if not member.is_dir()]
    members = [member for member in members if not any(map(not_data.why, PurePath(member.filename).parts))]
    if len(members) != 1:
        raise zipfile.BadZipFile(f"it holds {len(members)} files, where one is looked for")
    try:
        return archive.open(members[0])
    except RuntimeError as error:  # a password, or a way of compression that Python lacks
        raise zipfile.BadZipFile(str(error)) from error


COMPRESSIONS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda raw: pa.CompressedInputStream(raw, "zstd"),  # zstandard's own takes half a file for whole
    ".zip": _only_member,
}
