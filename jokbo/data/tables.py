"""Tables on disk: written with the same bytes every time; opened as one table, or as the splits of a data set."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import pyarrow as pa
import xxhash
from datasets import Dataset, DatasetDict, DatasetInfo, Features, IterableDataset, load_from_disk

from jokbo.runtime.errors import InputError

T = TypeVar("T")
Row = dict[str, Any]
MEBIBYTE = 2**20
BATCH_ROWS = 1000


def write_shards(
    rows: Iterable[Mapping[str, Any]], path: Path, schema: pa.Schema, *, shard_bytes: int = 16 * MEBIBYTE
) -> int:
    """Stream rows into a new folder of Arrow files that `load_from_disk` opens. Returns how many rows there
    were.

    A file ends with the batch that brings it to `shard_bytes`. Without rows there is one file. The bytes are a function
    of the rows and the schema alone.
    """
    path.mkdir(parents=True, exist_ok=True)
    batches = _batches(rows, schema)
    batch = next(batches, None)
    files: list[Path] = []
    written = 0
    while batch or not files:
        files.append(path / _file_name(len(files)))
        with files[-1].open("wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            while batch and sink.tell() < shard_bytes:
                writer.write_batch(batch)
                written += len(batch)
                batch = next(batches, None)
    _describe(path, files, schema)
    return written


def shard_files(path: Path) -> list[Path]:
    """Return the Arrow files of a folder that `load_from_disk` opens, in the order of their rows."""
    state = json.loads((path / "state.json").read_text())
    return [path / file["filename"] for file in state["_data_files"]]


def read_batches(file: Path) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of one Arrow file, each read only when it is needed."""
    with file.open("rb") as source, pa.ipc.open_stream(source) as reader:
        yield from reader


def assemble(files: Sequence[Path], path: Path, schema: pa.Schema) -> None:
    """Make a new folder of finished Arrow files, all of this schema, that `load_from_disk` opens.

    The files also stay where they are, as hard links, or as copies if the disks differ. So a process that is stopped
    half-way can do it again.
    """
    if not files:
        write_shards((), path, schema)
        return
    path.mkdir(parents=True, exist_ok=True)
    targets = [path / _file_name(number) for number in range(len(files))]
    for file, target in zip(files, targets, strict=True):
        try:
            os.link(file, target)
        except OSError:
            shutil.copyfile(file, target)
    _describe(path, targets, schema)


def save_tables(tables: Mapping[str, pa.Table], path: Path) -> None:
    """Write tables, one a split, as a `datasets.DatasetDict` that `load_from_disk` opens."""
    splits = DatasetDict({name: _dataset(table) for name, table in tables.items()})
    splits.save_to_disk(path, num_shards=dict.fromkeys(tables, 1))  # else an empty table could not be read


def open_table(path: Path) -> Dataset:
    """Return the table in a folder. Raises InputError where there are splits."""
    found = load_from_disk(path)
    if not isinstance(found, Dataset):
        raise InputError(
            f"{path} holds splits, {', '.join(map(str, found))}, not one table: run its stage again"
        )
    return found


def open_splits(path: Path) -> DatasetDict:
    """Return the tables in a folder by split. Raises InputError where there is only one."""
    found = load_from_disk(path)
    if not isinstance(found, DatasetDict):
        raise InputError(f"{path} holds one table, not splits: run its stage again")
    return found


def rows_of(table: Dataset | IterableDataset) -> Iterator[Row]:
    """Return the rows, each a dict of its columns. The type that `datasets` gives them is wider than that."""
    return cast(Iterator[Row], iter(table))


def _dataset(table: pa.Table) -> Dataset:
    """Return the table in one chunk: chunks depend on how it was built, and would show in the file."""
    return Dataset(table.combine_chunks())


def a_few(items: Iterable[T], size_of: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most `most` items, and of about a MiB by `size_of`.

    The item with which a list reaches a MiB is its last.
    """
    held: list[T] = []
    size = 0
    for item in items:
        held.append(item)
        size += size_of(item)
        if len(held) == most or size >= MEBIBYTE:
            yield held
            held, size = [], 0
    if held:
        yield held


def _batches(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for some in a_few(rows, _row_size, BATCH_ROWS):
        yield pa.RecordBatch.from_pylist(some, schema)


def _row_size(row: Mapping[str, Any]) -> int:
    return sum(len(value) for value in row.values() if isinstance(value, str | bytes | list))


def _file_name(number: int) -> str:
    return f"data-{number:05d}.arrow"


def _describe(path: Path, files: Sequence[Path], schema: pa.Schema) -> None:
    """Write the two files by which `datasets` knows a folder; its own writer would need the whole table."""
    content = xxhash.xxh3_64()  # two tables of one fingerprint would share the cache of `datasets`
    for file in files:
        with file.open("rb") as stream:
            content.update(hashlib.file_digest(stream, xxhash.xxh3_64).digest())
    state = {
        "_data_files": [{"filename": file.name} for file in files],
        "_fingerprint": content.hexdigest(),
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (path / "state.json").write_text(json.dumps(state, indent=2) + "\n")
    DatasetInfo(features=Features.from_arrow_schema(schema)).write_to_directory(path)
