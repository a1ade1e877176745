"""Reading a source in tests: its rows, its texts, and what was left out."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jokbo.data.fetch.sources import read_source
from jokbo.data.files.left_out import LeftOut, Read
from tests.data.conftest import files

DOWNLOADS = Path("downloads")


ROWS = [
    {"text": "A fine film.", "source": "imdb", "label": "1", "ratings": None},
    {"text": "A dull film.", "source": "rotten_tomatoes", "label": "0", "ratings": None},
]


def parquet(*texts):
    stream = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), stream)
    return stream.getvalue()


def read(name, source, maximum=1_000_000):
    """Return the rows, with None for a text that is too long."""
    found = read_source(name, source, DOWNLOADS, maximum)
    rows = [None if isinstance(row, LeftOut) and row.reason == "too long" else row for row in found]
    return [row for row in rows if not isinstance(row, LeftOut)]


def read_all(source):
    """Return the texts, and the line that says what was left out."""
    read = Read()
    return [row["text"] for row in read.taken(read_source("mine", source, DOWNLOADS, 1000))], read.line()


MAC = b"\0\5\x16\7\0\2\0\0Mac OS X        \xb0"


def texts(paths, format, sha256=None, **changed):
    return [row["text"] for row in read("mine", files(paths, format, sha256=sha256, **changed))]
