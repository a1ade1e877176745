"""Output folders that are either whole or not there, and tables whose files are the same bytes every time."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, DatasetDict, disable_progress_bars, enable_progress_bars
from datasets.utils import are_progress_bars_disabled


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
    with _no_bars():
        _dataset(table).save_to_disk(
            path, num_shards=1
        )  # without the number an empty table could not be read


def save_tables(tables: Mapping[str, pa.Table], path: Path) -> None:
    """Write tables, one a split, as a `datasets.DatasetDict` that `load_from_disk` opens."""
    with _no_bars():
        splits = DatasetDict({name: _dataset(table) for name, table in tables.items()})
        splits.save_to_disk(path, num_shards=dict.fromkeys(tables, 1))


def _dataset(table: pa.Table) -> Dataset:
    """The table under a fingerprint of its content: the default one is random, and lands in state.json."""
    table = (
        table.combine_chunks()
    )  # chunks are an accident of how a table was built, and would show in the file
    digest = hashlib.sha256(table.schema.to_string().encode())
    for batch in table.to_batches():
        digest.update(batch.serialize())
    return Dataset(table, fingerprint=digest.hexdigest()[:16])


@contextmanager
def _no_bars() -> Iterator[None]:
    """No progress bars of `datasets` inside: writing takes a second, and each of its bars stays in the log."""
    were_disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_disabled:
            enable_progress_bars()
