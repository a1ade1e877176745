"""The bytes of files as they are stored, decompressed by the suffix of their name."""

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
from typing import IO, Any

import pyarrow as pa

from jokbo.data.files import not_data

UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)  # raised by damaged files
PIECE = 2**20  # bytes read at a time
Stream = io.BufferedReader | io.BufferedRandom


@contextmanager
def opened(file: Path, location: str, *, seeks: bool) -> Iterator[Stream]:
    """Yield the file's content, decompressed by the suffix of `location`.

    seeks: whether the reader seeks in it; then what is compressed is copied out first. Raises InputError if the file is
    a pointer or an error page, compressed or not.
    """
    # the query of a URL is not part of the name
    suffix = PurePath(location.partition("?")[0] if "://" in location else location).suffix.lower()
    with file.open("rb") as raw:
        not_data.check_stand_in(raw.peek(not_data.HEAD)[: not_data.HEAD], location)
        if suffix not in COMPRESSIONS:
            yield raw
            return
        with io.BufferedReader(COMPRESSIONS[suffix](raw), PIECE) as stream:
            not_data.check_stand_in(stream.peek(not_data.HEAD)[: not_data.HEAD], location)
            if not seeks:
                yield stream
                return
            with tempfile.TemporaryFile() as whole:
                shutil.copyfileobj(stream, whole, PIECE)
                whole.seek(0)
                yield whole


def _only_member(raw: IO[bytes]) -> IO[bytes]:
    """Return the one file of a zip. Raises BadZipFile if it holds none or several, or one that cannot be read."""
    archive = zipfile.ZipFile(raw)
    members = [member for member in archive.infolist() if not member.is_dir()]
    members = [member for member in members if not any(map(not_data.why, PurePath(member.filename).parts))]
    if len(members) != 1:
        raise zipfile.BadZipFile(f"it holds {len(members)} files, not one")
    try:
        return archive.open(members[0])
    except RuntimeError as error:  # a password, or a way of compression that Python lacks
        raise zipfile.BadZipFile(str(error)) from error


class _Streams(io.RawIOBase):
    """One compressed stream after another, as bytes.

    What follows a stream and is no stream is an error. Python's own readers take it for padding, and so lose all that
    comes after a damaged byte.
    """

    def __init__(self, raw: IO[bytes], decompressor: Callable[[], Any], padding: bytes = b"") -> None:
        self._raw, self._decompressor, self._padding = raw, decompressor, padding
        self._stream = decompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = b""
        while not piece:
            more = b""
            if self._stream.eof:
                more = self._stream.unused_data.lstrip(self._padding)
                while not more and (more := self._raw.read(PIECE)):
                    more = more.lstrip(self._padding)
                if not more:
                    return 0
                self._stream = self._decompressor()
            elif self._stream.needs_input and not (more := self._raw.read(PIECE)):
                raise EOFError("it ends too early")
            piece = self._stream.decompress(more, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


COMPRESSIONS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": gzip.open,
    ".bz2": lambda raw: _Streams(raw, bz2.BZ2Decompressor),
    ".xz": lambda raw: _Streams(raw, lzma.LZMADecompressor, padding=b"\0"),
    ".zst": lambda raw: pa.CompressedInputStream(
        raw, "zstd"
    ),  # zstandard's own reader takes half a file for whole
    ".zip": _only_member,
}
