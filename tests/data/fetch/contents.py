"""Contents of files in every format and every compression."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq


def zipped(*contents: bytes, folder: bool = False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        if folder:
            archive.writestr(zipfile.ZipInfo("folder/"), b"")
        for number, content in enumerate(contents):
            archive.writestr(zipfile.ZipInfo(f"folder/{number}"), content)
    return stream.getvalue()


def parquet_of(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def parquet(**columns) -> bytes:
    return parquet_of(pa.table(columns))


TWICE = parquet_of(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"]))


PACKED = {
    "": lambda content: content,
    ".gz": lambda content: gzip.compress(
        content, mtime=0
    ),  # the same bytes, so the same name of a test, every time
    ".GZ": lambda content: gzip.compress(content, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
    ".zip": lambda content: zipped(content, folder=True),
}


TEXT_FORMATS = {
    "txt": "één film\nvoilà\n".encode(),
    "csv": 'id,text\n1,één film\n2,"voilà"\n'.encode(),
    "jsonl": '{"text": "één film"}\n{"text": "voil\\u00e0"}\n'.encode(),
}


FORMATS = TEXT_FORMATS | {"parquet": parquet(id=[1, 2], text=["één film", "voilà"])}


def texts(rows):
    return [row and row["text"] for row in rows]
