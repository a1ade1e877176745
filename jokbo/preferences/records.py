"""The records of a file of judgements below data/local (jsonl, json, csv or parquet), each with its place in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jokbo.data.files import formats, not_data
from jokbo.data.files.compression import COMPRESSIONS, UNREADABLE, Stream, opened
from jokbo.data.files.files import LOCAL, below_local, local_files
from jokbo.preferences.forms.form import Record
from jokbo.runtime.errors import InputError

BYTES = 2**27  # most bytes of a line or a record


def files(paths: str, key: str) -> list[Path]:
    """Return the file, or those that the glob matches, below data/local. InputError, which says the key, if none is."""
    named = below_local(key, paths, "the file")
    if named.is_dir():
        raise InputError(f"{key} is {paths!r}, a folder: name its files, such as {paths.rstrip('/')}/*.jsonl")
    found = [path for path in local_files(LOCAL, paths, "") if isinstance(path, Path)]
    if not found:
        raise InputError(f"{key}: no file matches {named}: put one there")
    return found


def records(file: Path, prompt: str) -> Iterator[Record]:
    """Yield the records of a file with their places. `prompt` is the column of a csv that must be there.

    InputError for a file that cannot be read whole.
    """
    path = PurePath(file.name.lower())
    kind = (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix.removeprefix(".")
    location = str(file)
    if kind not in ("jsonl", "json", "csv", "parquet"):
        raise InputError(
            f"{location}: its suffix is {kind or 'none'}: it must be jsonl, json, csv or parquet"
        )
    try:
        with opened(file, location, seeks=kind == "parquet") as stream:
            wanted = "Parquet" if kind == "parquet" else "text"
            not_data.check_kind(stream.peek(not_data.HEAD)[: not_data.HEAD], location, wanted)
            for record in _read(kind, stream, location, prompt):
                if record is None:
                    raise InputError(
                        f"{location}: a record is longer than {BYTES:,} bytes: correct or remove it"
                    )
                yield record
    except UNREADABLE as error:
        raise InputError(f"{location} cannot be read ({error}): get it again") from error


def _read(kind: str, stream: Stream, location: str, prompt: str) -> Iterator[Record | None]:
    if kind == "jsonl":
        return formats.read_jsonl(stream, location, {}, BYTES)
    if kind == "csv":
        return formats.read_csv(stream, location, {"text": prompt}, BYTES)
    return _json(stream, location) if kind == "json" else _parquet(stream, location)


def _json(stream: Stream, location: str) -> Iterator[Record]:
    try:
        found = formats.DECODER.decode(stream.read().decode("utf-8-sig").strip())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{location} is not JSON: {error}; correct it, or export it again") from error
    if not isinstance(found, list):
        raise InputError(f"{location} holds {type(found).__name__}, not an array: export a list of rows")
    for number, record in enumerate(found):
        if not isinstance(record, dict):
            raise InputError(
                f"{location}, row {number}: it is {json.dumps(record)[:40]}, not an object: correct it"
            )
        yield f"{location}, row {number}", record


def _parquet(stream: Any, location: str) -> Iterator[Record]:
    try:
        rows = pq.read_table(stream).to_pylist()
    except (pa.ArrowException, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{location} is not a whole parquet file: {reason}; write it again") from error
    for number, record in enumerate(rows, 1):
        yield f"{location}, row {number}", record
