"""Readers: bytes of one format in, records out, and errors that name file and line.

A reader yields records, each with the location that errors name, and None for a record that is longer than allowed. A
line of txt or jsonl, or a record of csv, of more than `maximum` bytes is passed over and never in memory as a whole.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jokbo.data.files import not_data
from jokbo.data.files.compression import COMPRESSIONS, UNREADABLE, Stream, opened
from jokbo.data.files.left_out import LeftOut
from jokbo.data.files.rows import Origin, Row, check_columns, raw_row
from jokbo.runtime.errors import InputError

Record = tuple[str, Mapping[str, Any]]  # a location, and the fields there
PIECE = 2**20  # bytes read at a time
ORDINARY = re.compile(rb'[^",\r\n]+')  # what has no meaning in csv
QUOTED = re.compile(r'(?:[^"]++|"")*+')  # what comes before the quote that ends a field
ICWSM_TABLES = {
    "icwsm2014-movies": "movieReviewSnippets",
    "icwsm2014-amazon": "amazonReviewSnippets",
    "icwsm2014-nyt": "nytEditorialSnippets",
    "icwsm2014-tweets": "tweets",
}


def read_rows(
    file: Path, location: str, format: str, columns: Mapping[str, str], source: Origin, maximum: int
) -> Iterator[Row | LeftOut | None]:
    """Yield the rows of one file, in order; None for each whose text is longer than `maximum` bytes.

    A conversation that is none is left out.

    location: what errors call the file; its suffix tells how the file is compressed. format: a name in READERS.
    columns: for a column of RAW_SCHEMA the field that holds it.
    Raises InputError for a file that cannot be read whole, and for the first record that is no row.
    """
    try:
        with opened(file, location, seeks=format in ("parquet", "icwsm2014")) as stream:
            if format != "icwsm2014":
                wanted = "Parquet" if format == "parquet" else "text"
                not_data.check_kind(stream.peek(not_data.HEAD)[: not_data.HEAD], location, wanted)
            for record in READERS[format](stream, location, columns, maximum):
                yield record and raw_row(record[1], columns, source, record[0], maximum)
    except UNREADABLE as error:
        raise InputError(f"{location} cannot be read ({error}); get it again, or take it out") from error


def fits(name: str, format: str) -> bool:
    """Return whether a file's name says that it is of this format, compressed or not."""
    path = PurePath(name.lower())
    return (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix == f".{format}"


def read_txt(
    stream: Stream, location: str, columns: Mapping[str, str], maximum: int
) -> Iterator[Record | None]:
    """Yield one document a line, in a field `text`; blank lines are skipped."""
    for number, line, too_long in _lines(stream, location, maximum):
        if too_long:
            yield None
        elif text := line.strip():
            yield f"{location}:{number}", {"text": text}


def read_paragraphs(
    stream: Stream, location: str, columns: Mapping[str, str], maximum: int, *, whole: bool = False
) -> Iterator[Record | None]:
    """Yield one document a paragraph, between blank lines, or the `whole` file, in a field `text`."""
    lines: list[str] = []
    size, begin = 0, 1
    for number, line, too_long in chain(_lines(stream, location, maximum), [(0, "", False)]):
        if line.strip() or (whole and number):
            begin = begin if size else number
            size += maximum + 1 if too_long else len(line.encode())
            if size <= maximum:
                lines.append(line)
        elif size > maximum:
            yield None
        elif text := "".join(lines).strip():
            yield f"{location}:{begin}", {"text": text}
        if not line.strip() and not (whole and number):
            lines, size = [], 0


def read_csv(
    stream: Stream, location: str, columns: Mapping[str, str], maximum: int
) -> Iterator[Record | None]:
    """Yield one document a record of a file with a header line; blank lines between records are skipped."""
    size = 0  # of the record that is being read

    def lines() -> Iterator[str]:
        nonlocal size
        for _, line, too_long in _lines(stream, location, maximum):
            inside = size > 0  # quotes that an earlier line of this record opens
            size += maximum + 1 if too_long else len(line)
            yield QUOTED.sub("", line, count=1) if inside and size > maximum else line

    csv.field_size_limit(sys.maxsize)  # the default refuses a text of 128 KiB
    reader = csv.reader(lines(), strict=True)
    header: list[str] = []
    begin = 1
    try:
        for fields in reader:
            if not header:
                header = fields
                if len(header) == 1 and (other := re.search(r"[;\t|]", header[0])):
                    raise InputError(
                        f"{location}: its fields are divided by {other[0]!r}: divide them by commas"
                    )
                check_columns(columns, header, location)
            elif size > maximum:
                yield None
            elif fields:
                if len(fields) != len(header):
                    found = f"{len(fields)} fields, not {len(header)}"
                    raise InputError(f"{location}:{begin} has {found}: quote the text, or correct the line")
                record = dict(zip(header, fields, strict=True))
                if any(name[0:1] == " " and record[name].startswith(' "') for name in columns.values()):
                    found = "a quote after a comma and a blank, which quotes nothing"
                    raise InputError(f"{location}:{begin} has {found}: no blanks after commas")
                yield f"{location}:{begin}", record
            begin, size = reader.line_num + 1, 0
    except csv.Error as error:
        raise InputError(f"{location}:{begin} is not csv: {error}; correct or remove the line") from error


def read_jsonl(
    stream: Stream, location: str, columns: Mapping[str, str], maximum: int
) -> Iterator[Record | None]:
    """Yield one document a line, each a JSON object; blank lines are skipped."""
    for number, line, too_long in _lines(stream, location, maximum):
        if too_long:
            yield None
            continue
        if not line.strip():
            continue
        here = f"{location}:{number}"
        try:
            record = DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            advice = (
                "write an object a line, not an array" if line[0] == "[" else "correct or remove the line"
            )
            raise InputError(f"{here} is not JSON: {error}; {advice}") from error
        if not isinstance(record, dict):
            raise InputError(f"{here} holds {type(record).__name__}, not an object: write {{...}} a line")
        yield here, record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs. Raises ValueError for two of one key, of which the first would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise ValueError(f"two keys of one object are {twice!r:.40}")
    return found


# a cleaning step takes control characters out
DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_object)


def read_parquet(stream: Stream, location: str, columns: Mapping[str, str], maximum: int) -> Iterator[Record]:
    """Yield one document a row, with the columns that are wanted. The stream must be able to seek."""
    number = 0
    try:
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=PIECE)  # or it reads a row group at once
        check_columns(columns, file.schema_arrow.names, location)
        for batch in file.iter_batches(batch_size=128, columns=sorted(set(columns.values()))):
            batch.validate(full=True)  # that strings are UTF-8
            for record in batch.to_pylist():
                number += 1
                yield f"{location}, row {number}", record
    except (pa.ArrowException, ValueError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{location} is not a whole parquet file after row {number}: {reason}; write it again"
        ) from error


def read_icwsm2014(
    stream: Stream, location: str, columns: Mapping[str, str], maximum: int
) -> Iterator[Record]:
    """Yield the rated texts of Hutto and Gilbert (2014): four pairs of tables in a tar.gz, joined by id.

    *_GroundTruth.txt has id, mean and text; *_anonDataRatings.txt has id, mean, deviation and the single ratings.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            files = {member.name.rsplit("/")[-1]: member for member in archive if member.isfile()}
            for source, table in ICWSM_TABLES.items():
                truth, rated = (f"{table}_{kind}.txt" for kind in ("GroundTruth", "anonDataRatings"))
                texts = _table(_member(archive, files[truth]), f"{location}/{truth}", width=3)
                ratings = _table(_member(archive, files[rated]), f"{location}/{rated}", width=4)
                for key, (_, text) in texts.items():
                    found = json.loads(ratings[key][-1])
                    yield f"{location}/{truth}, id {key}", {"text": text, "source": source, "ratings": found}
    except KeyError as error:
        raise InputError(f"{location} lacks {error}: it is not the archive of ICWSM 2014") from error
    except (tarfile.TarError, *UNREADABLE) as error:
        raise InputError(f"{location} is not a whole tar.gz: {error}; get it again") from error


READERS: dict[str, Callable[..., Iterator[Record | None]]] = {
    "txt": read_txt,
    "txt/paragraph": read_paragraphs,
    "txt/file": partial(read_paragraphs, whole=True),
    "jsonl": read_jsonl,
    "csv": read_csv,
    "parquet": read_parquet,
    "icwsm2014": read_icwsm2014,
}
DOCUMENT = {  # what one document of a file is, as the data card says it
    "txt": "a line",
    "txt/paragraph": "a paragraph",
    "txt/file": "a file",
    "jsonl": "a line",
    "csv": "a record",
    "parquet": "a row",
    "icwsm2014": "a rated text",
}


def _lines(stream: Stream, location: str, maximum: int = 2**30) -> Iterator[tuple[int, str, bool]]:
    """Yield number and text of each line, without a byte order mark, and whether it is over `maximum` bytes.

    Of a line that is over it only what csv's rules need is kept (_csv_signs). Raises InputError at the first byte that
    is not UTF-8.
    """
    offset = 0
    reader = io.BufferedReader(stream, PIECE)
    for number, line in enumerate(iter(lambda: reader.readline(maximum + 2), b""), start=1):
        if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(f"{location} is UTF-16 by its first two bytes: convert the file to UTF-8")
        too_long = len(line.removesuffix(b"\n").removesuffix(b"\r")) > maximum
        size = len(line)
        if too_long:
            pieces = [_csv_signs(line)]
            while line and not line.endswith(b"\n"):
                line = reader.readline(PIECE)
                size += len(line)
                pieces.append(_csv_signs(line))
            line = b"".join(pieces)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte {offset + error.start} is 0x{line[error.start]:02x}"
            likely = "cp949" if _decodes(line, "euc-kr") else "cp1252"
            raise InputError(
                f"{location}:{number} is not UTF-8: {byte}; convert the file to UTF-8 (from {likely}?)"
            ) from error
        if number == 1 and not too_long and text.rstrip("\r").count("\r") and not text.endswith("\n"):
            raise InputError(
                f"{location} ends its lines with a carriage return alone: convert them to line feeds"
            )
        offset += size
        yield number, text.removeprefix("\ufeff") if number == 1 else text, too_long


def _csv_signs(line: bytes) -> bytes:
    """Return what csv's rules need of a line: its quotes, commas and line ends, with an x for the text between them."""
    return ORDINARY.sub(b"x", line)


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _member(archive: tarfile.TarFile, file: tarfile.TarInfo) -> Stream:
    """Return the stream of a file of an archive."""
    stream = archive.extractfile(file)
    assert isinstance(stream, io.BufferedReader)
    return stream


def _table(stream: Stream, location: str, width: int) -> dict[str, list[str]]:
    """Return lines of tab-separated fields by the first of them."""
    rows = {}
    for number, line, _ in _lines(stream, location):
        key, *fields = line.rstrip("\r\n").split("\t", width - 1)
        if len(fields) != width - 1:
            found = f"{len(fields) + 1} fields, not {width}"
            raise InputError(f"{location}:{number} has {found}: get the file again")
        rows[key] = fields
    return rows
