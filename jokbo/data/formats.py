"""Readers: bytes of one format in, rows of the raw table out, and errors that name file and line.

A row is a dict with the columns of RAW_SCHEMA. `place` is what a reader's complaints call its input.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from jokbo.errors import InputError

RAW_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("source", pa.string()),
        ("label", pa.int64()),  # 0 negative, 1 positive, null unknown
        ("ratings", pa.list_(pa.int64())),  # single human ratings, -4 to 4, null where nobody was asked
    ]
)
Row = dict[str, Any]
ICWSM_PARTS = {
    "icwsm2014-movies": "movieReviewSnippets",
    "icwsm2014-amazon": "amazonReviewSnippets",
    "icwsm2014-nyt": "nytEditorialSnippets",
    "icwsm2014-tweets": "tweets",
}


def read_txt(stream: BinaryIO, place: str, source: str) -> Iterator[Row]:
    """One document a line; blank lines are skipped."""
    for line in _lines(stream, place):
        if line.strip():
            yield {"text": line.strip(), "source": source, "label": None, "ratings": None}


def read_csv(stream: BinaryIO, place: str, source: str, columns: Mapping[str, str]) -> Iterator[Row]:
    """One document a record of a file with a header line. Raises InputError for a column that it lacks."""
    csv.field_size_limit(sys.maxsize)  # the default refuses a text of 128 KiB
    reader = csv.DictReader(_lines(stream, place))
    try:
        check_columns(columns, reader.fieldnames or [], place)
        for record in reader:
            yield raw_row(record, columns, source, f"{place}:{reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{place}:{reader.line_num} is not csv: {error}; mend or remove the line") from error


def read_jsonl(stream: BinaryIO, place: str, source: str, columns: Mapping[str, str]) -> Iterator[Row]:
    """One document a JSON object a line; blank lines are skipped."""
    for number, line in enumerate(_lines(stream, place), start=1):
        if not line.strip():
            continue
        here = f"{place}:{number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{here} is not JSON: {error}; mend or remove the line") from error
        if not isinstance(record, dict):
            raise InputError(f"{here} holds {type(record).__name__}, not an object: write {{...}} a line")
        check_columns(columns, record, here)
        yield raw_row(record, columns, source, here)


def read_parquet(stream: BinaryIO, place: str, source: str, columns: Mapping[str, str]) -> Iterator[Row]:
    """One document a row. Reads a batch of rows at a time."""
    try:
        file = pq.ParquetFile(stream)
        check_columns(columns, file.schema_arrow.names, place)
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=sorted(set(columns.values()))):
            for record in batch.to_pylist():
                number += 1
                yield raw_row(record, columns, source, f"{place}, row {number}")
    except pa.ArrowException as error:
        raise InputError(f"{place} is not a whole parquet file: {error}; write it again") from error


def read_icwsm2014(stream: BinaryIO, place: str) -> Iterator[Row]:
    """The rated texts of Hutto and Gilbert (2014): four pairs of tables in a tar.gz, joined by id.

    *_GroundTruth.txt holds id, mean, text; *_anonDataRatings.txt holds id, mean, deviation, single ratings.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as archive:
            files = {member.name.rsplit("/")[-1]: member for member in archive if member.isfile()}
            for source, part in ICWSM_PARTS.items():
                truth, rated = (f"{part}_{kind}.txt" for kind in ("GroundTruth", "anonDataRatings"))
                texts = _table(archive.extractfile(files[truth]), f"{place}/{truth}", width=3)
                ratings = _table(archive.extractfile(files[rated]), f"{place}/{rated}", width=4)
                for key, (_, text) in texts.items():
                    found = json.loads(ratings[key][-1])
                    yield {"text": text, "source": source, "label": None, "ratings": found}
    except KeyError as error:
        raise InputError(f"{place} lacks {error}: it is not the archive of ICWSM 2014") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{place} is not a whole tar.gz: {error}; get it again") from error


def check_columns(columns: Mapping[str, str], present: Iterable[str], place: str) -> None:
    """Raise InputError if a column that `columns` names is not among those present."""
    present = list(present)
    for name in columns.values():
        if name not in present:
            held = ", ".join(map(repr, present)) or "none"
            raise InputError(f"{place} has no column {name!r}: it has {held}; name one of them in `columns`")


def check_source(name: str, place: str) -> str:
    """The name of a source, if it can be part of a path and of a metric's name; else raises InputError."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(
            f"{place}: {name[:80]!r} is no name for a source: use letters, digits, '_', '.', '-'"
        )
    return name


def raw_row(record: Mapping[str, Any], columns: Mapping[str, str], source: str, place: str) -> Row:
    """A record as a row of the raw table. `columns` says which of its fields are text, label, source, ratings."""
    text = record[columns["text"]]
    if not isinstance(text, str):
        raise InputError(f"{place}: column {columns['text']!r} is {text!r}, not text; mend or remove the row")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"half a surrogate pair at character {error.start}"
        raise InputError(f"{place}: the text has {found}; mend or remove the row") from error
    label = _label(record[columns["label"]], place) if "label" in columns else None
    origin = check_source(str(record[columns["source"]]), place) if "source" in columns else source
    ratings = _ratings(record[columns["ratings"]], place) if "ratings" in columns else None
    return {"text": text, "source": origin, "label": label, "ratings": ratings}


def _ratings(value: Any, place: str) -> list[int] | None:
    """A list of whole numbers, -4 to 4, as JSON and parquet hold it; nothing where nobody was asked."""
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(type(rating) is int and -4 <= rating <= 4 for rating in value):
        raise InputError(
            f"{place}: ratings are {value!r}, not a list of whole numbers from -4 to 4; mend the row"
        )
    return value


def _label(value: Any, place: str) -> int | None:
    """0 or 1. Nothing and -1 (as hub sets write it) mean unlabelled."""
    if value in (None, "", -1, "-1"):
        return None
    if value in (0, 1, "0", "1"):
        return int(value)
    raise InputError(f"{place}: label is {value!r}: write 0 (negative), 1 (positive) or nothing (unknown)")


def _lines(stream: BinaryIO, place: str) -> Iterator[str]:
    """Decoded lines, without a byte order mark. Raises InputError at the first byte that is not UTF-8."""
    offset = 0
    for number, line in enumerate(io.BufferedReader(stream), start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte {offset + error.start} is 0x{line[error.start]:02x}"
            raise InputError(f"{place}:{number} is not UTF-8: {byte}; convert the file to UTF-8") from error
        offset += len(line)
        yield text.removeprefix("\ufeff") if number == 1 else text


def _table(stream: BinaryIO, place: str, width: int) -> dict[str, list[str]]:
    """Lines of tab-separated fields, by their first."""
    rows = {}
    for number, line in enumerate(_lines(stream, place), start=1):
        key, *fields = line.rstrip("\r\n").split("\t", width - 1)
        if len(fields) != width - 1:
            found = f"{len(fields) + 1} fields, not {width}"
            raise InputError(f"{place}:{number} has {found}: get the file again")
        rows[key] = fields
    return rows
