"""Output folders that are either whole or not there, and tables whose files are the same bytes every time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, DatasetDict


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Yield an empty sibling of `path` to write into; it takes the place of `path` if the block ends well.

    After an exception neither the sibling nor a new `path` is left; what stood at `path` before stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def save_table(table: pa.Table, path: Path) -> None:
    """Write one table as a `datasets.Dataset` that `load_from_disk` opens."""
    _dataset(table).save_to_disk(path, num_shards=1)  # without the number an empty table could not be read


def save_tables(tables: Mapping[str, pa.Table], path: Path) -> None:
    """Write tables, one a split, as a `datasets.DatasetDict` that `load_from_disk` opens."""
    splits = DatasetDict({name: _dataset(table) for name, table in tables.items()})
    splits.save_to_disk(path, num_shards=dict.fromkeys(tables, 1))


def _dataset(table: pa.Table) -> Dataset:
    """The table in one chunk: chunks are an accident of how it was built, and would show in the file."""
    return Dataset(table.combine_chunks())
