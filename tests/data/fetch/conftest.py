"""Fixtures: a file system in memory, and a reader of one file."""

from __future__ import annotations

import fsspec
import pytest

from jokbo.data.files.formats import read_rows


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.rm("/", recursive=True)


@pytest.fixture
def read(tmp_path):
    def read(name, content, columns=None, maximum=1_000_000):
        file = tmp_path / "bytes"  # the name that counts is the location's
        file.write_bytes(content)
        format = name.split(".")[1]
        return list(read_rows(file, name, format, {"text": "text"} | (columns or {}), "mine", maximum))

    return read
