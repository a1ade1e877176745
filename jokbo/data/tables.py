"""Opening tables: one, or several as the splits of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from datasets import Dataset, DatasetDict, IterableDataset, load_from_disk

from jokbo.runtime.errors import InputError

Row = dict[str, Any]


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
