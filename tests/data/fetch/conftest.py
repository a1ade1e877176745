"""Fixtures: a file system in memory, and a reader of one file."""

from __future__ import annotations

import fsspec
import pytest

from jokbo.data.files.formats import read_rows
from jokbo.data.files.rows import Origin


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.rm("/", recursive=True)


@pytest.fixture
def read(tmp_path):
    def read(name, content, columns=None, maximum=1_000_000, labels=()):
        file = tmp_path / "bytes"  # the name that counts is the location's
        file.write_bytes(content)
        format = name.split(".")[1]
        own = {"text": "text"} | (columns or {})
        return list(read_rows(file, name, format, own, Origin("mine", labels), maximum))

    return read
