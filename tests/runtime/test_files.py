"""Files that are whole or as they were, and what the disk refuses in one line: /dev/full is a disk without room."""

from __future__ import annotations

import errno
import json
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import (
    atomic_write_file,
    atomic_write_folder,
    read_if_there,
    read_json,
    refusal,
    write_text,
    writing,
)

FULL = "/dev/full"


@contextmanager
def at_most(bytes: int) -> Iterator[None]:
    """Inside, no file may grow beyond this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def stopped(path: Path) -> None:
    with atomic_write_file(path) as file:
        file.write("half")
        raise KeyboardInterrupt


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt):
        stopped(path)
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_a_link_into_a_cache_leaves_the_cache_alone(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("old")
    (tmp_path / "metrics.json").hardlink_to(tmp_path / "cache")
    write_text(tmp_path / "metrics.json", "new")
    assert (tmp_path / "cache").read_text() == "old"


def test_without_room_the_old_file_stays_and_a_line_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with at_most(1000), pytest.raises(InputError, match=r"^\S+file.txt: File too large: raise the limit"):
        write_text(path, "new" * 1000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def too_much(path: Path) -> None:
    with atomic_write_folder(path) as folder:
        (folder / "file").write_bytes(b"new" * 1000)


def test_without_room_the_old_folder_stays_and_a_line_says_so(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with atomic_write_folder(path) as folder:
        (folder / "file").write_text("old")
    with at_most(1000), pytest.raises(InputError, match=r"^\S+folder: File too large"):
        too_much(path)
    assert (path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def arrow() -> None:
    with pa.OSFile(FULL, "wb") as file:
        file.write(b"x" * 2**20)


def torch_zip() -> None:
    with open(FULL, "wb") as file:
        torch.save(torch.zeros(2**20), file)


def text() -> None:
    with open(FULL, "w") as file:
        file.write("x")


def wrapped() -> None:
    try:
        text()
    except OSError as error:
        raise ValueError("cannot save") from error


def database() -> None:
    store = sqlite3.connect(":memory:")
    store.execute("PRAGMA max_page_count = 1")
    store.execute("CREATE TABLE t (x)")


@pytest.mark.parametrize("write", [arrow, torch_zip, text, wrapped, database])
def test_every_writer_is_understood(tmp_path: Path, write: Callable[[], None]) -> None:
    with (
        pytest.raises(InputError, match=r"^models/base: .*: free some space on its disk, and run again$"),
        writing(Path("models/base")),
    ):
        write()


def test_safetensors_is_understood(tmp_path: Path) -> None:
    with (
        at_most(1000),
        pytest.raises(InputError, match=r"^models/base: File too large"),
        writing(Path("models/base")),
    ):
        save_file({"x": torch.zeros(1000)}, tmp_path / "x.safetensors")


def test_a_file_that_may_not_be_written_is_named() -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "data/local/mine.csv")
    line = refusal(error, Path("data/raw"))
    assert line.startswith("data/local/mine.csv: Permission denied: make it readable and writable for you")
    assert refusal(ValueError("a mistake")) is None
    assert refusal(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None


@pytest.mark.parametrize("content", ["", '{"key": "', "\0\0"])
def test_half_a_file_is_absent_or_a_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "counts.json"
    path.write_text(content)
    assert read_if_there(path) is None
    with pytest.raises(InputError, match=r"counts.json: not whole \(.*\): run `make pipeline`"):
        read_json(path)
    path.unlink()
    assert read_if_there(path) is None
    with pytest.raises(InputError, match=r"counts.json: not there: "):
        read_json(path)
    write_text(path, json.dumps({"a": 1}))
    assert read_if_there(path) == read_json(path) == {"a": 1}
