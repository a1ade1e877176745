"""Readers: bytes of one format in, rows of the raw table out, and errors that name file and line.

A reader gives records, each with the place that complaints about it name, and None for one that is longer than
allowed: a line of txt or jsonl or a record of csv of more than `maximum` bytes is passed over, not held.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jokbo.data.fetch import not_data
from jokbo.data.fetch.compression import COMPRESSIONS, UNREADABLE, Stream, opened
from jokbo.params import names
from jokbo.runtime.errors import InputError

RAW_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("source", pa.string()),
        ("label", pa.int64()),  # 0 negative, 1 positive, null unknown
        ("ratings", pa.list_(pa.int64())),  # single human ratings, -4 to 4, null where nobody was asked
    ]
)
Row = dict[str, Any]  # with the columns of RAW_SCHEMA
Record = tuple[str, Mapping[str, Any]]  # a place and the fields there
PIECE = 2**20
UNLABELLED = -1
LISTED, SEEN = 10, 20  # names in a message, and characters of a value
ORDINARY = re.compile(rb'[^",\r\n]+')  # what csv's rules do not look at
QUOTED = re.compile(r'(?:[^"]++|"")*+')  # what stands before the quote that ends a field
ICWSM_PARTS = {
    "icwsm2014-movies": "movieReviewSnippets",
    "icwsm2014-amazon": "amazonReviewSnippets",
    "icwsm2014-nyt": "nytEditorialSnippets",
    "icwsm2014-tweets": "tweets",
}


def read_rows(
    file: Path, place: str, format: str, columns: Mapping[str, str], source: str, maximum: int
) -> Iterator[Row | None]:
    """The rows of one file, in order; None for each whose text is longer than `maximum` bytes.

    place: what errors call the file; its suffix tells how the file is compressed. format: of READERS. columns: a
    column of RAW_SCHEMA -> the field that holds it. source: whose rows they are where no field says it.
    Raises InputError for a file that cannot be read whole, and for the first record that is no row.
    """
    try:
        with opened(file, place, seeks=format in ("parquet", "icwsm2014")) as stream:
            if format != "icwsm2014":
                wanted = "Parquet" if format == "parquet" else "text"
                not_data.check_kind(stream.peek(not_data.HEAD)[: not_data.HEAD], place, wanted)
            for record in READERS[format](stream, place, columns, maximum):
                yield record and raw_row(record[1], columns, source, record[0], maximum)
    except UNREADABLE as error:
        raise InputError(f"{place} cannot be read ({error}); get it again, or take it out") from error


def fits(name: str, format: str) -> bool:
    """Whether a file's name says that it is of this format, compressed or not."""
    path = PurePath(name.lower())
    return (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix == f".{format}"


def read_txt(stream: Stream, place: str, columns: Mapping[str, str], maximum: int) -> Iterator[Record | None]:
    """One document a line, in a field `text`; blank lines are skipped."""
    for number, line, too_long in _lines(stream, place, maximum):
        if too_long:
            yield None
        elif text := line.strip():
            yield f"{place}:{number}", {"text": text}


def read_paragraphs(
    stream: Stream, place: str, columns: Mapping[str, str], maximum: int, *, whole: bool = False
) -> Iterator[Record | None]:
    """One document a paragraph, divided by blank lines, or the `whole` file, in a field `text`."""
    lines: list[str] = []
    size, begin = 0, 1
    for number, line, too_long in chain(_lines(stream, place, maximum), [(0, "", False)]):
        if line.strip() or (whole and number):
            begin = begin if size else number
            size += maximum + 1 if too_long else len(line.encode())
            if size <= maximum:
                lines.append(line)
        elif size > maximum:
            yield None
        elif text := "".join(lines).strip():
            yield f"{place}:{begin}", {"text": text}
        if not line.strip() and not (whole and number):
            lines, size = [], 0


def read_csv(stream: Stream, place: str, columns: Mapping[str, str], maximum: int) -> Iterator[Record | None]:
    """One document a record of a file with a header line; blank lines between records are skipped."""
    size = 0  # of the record that is being read

    def lines() -> Iterator[str]:
        nonlocal size
        for _, line, too_long in _lines(stream, place, maximum):
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
                        f"{place}: its fields are divided by {other[0]!r}: divide them by commas"
                    )
                check_columns(columns, header, place)
            elif size > maximum:
                yield None
            elif fields:
                if len(fields) != len(header):
                    found = f"{len(fields)} fields, not {len(header)}"
                    raise InputError(f"{place}:{begin} has {found}: quote the text, or mend the line")
                record = dict(zip(header, fields, strict=True))
                if columns["text"].startswith(" ") and record[columns["text"]].startswith(' "'):
                    found = "a quote after a comma and a blank, which quotes nothing"
                    raise InputError(f"{place}:{begin} has {found}: no blanks after commas")
                yield f"{place}:{begin}", record
            begin, size = reader.line_num + 1, 0
    except csv.Error as error:
        raise InputError(f"{place}:{begin} is not csv: {error}; mend or remove the line") from error


def read_jsonl(
    stream: Stream, place: str, columns: Mapping[str, str], maximum: int
) -> Iterator[Record | None]:
    """One document a JSON object a line; blank lines are skipped."""
    for number, line, too_long in _lines(stream, place, maximum):
        if too_long:
            yield None
            continue
        if not line.strip():
            continue
        here = f"{place}:{number}"
        try:
            record = DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            advice = "write an object a line, not an array" if line[0] == "[" else "mend or remove the line"
            raise InputError(f"{here} is not JSON: {error}; {advice}") from error
        if not isinstance(record, dict):
            raise InputError(f"{here} holds {type(record).__name__}, not an object: write {{...}} a line")
        yield here, record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs. Raises ValueError for two of one key: the first would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise ValueError(f"two keys of one object are {twice!r:.40}")
    return found


# control characters are the cleaning's to take out
DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_object)


def read_parquet(stream: Stream, place: str, columns: Mapping[str, str], maximum: int) -> Iterator[Record]:
    """One document a row, of the columns wanted. Needs a stream that can seek."""
    number = 0
    try:
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=PIECE)  # or it reads a row group at once
        check_columns(columns, file.schema_arrow.names, place)
        for batch in file.iter_batches(batch_size=128, columns=sorted(set(columns.values()))):
            batch.validate(full=True)  # that strings are UTF-8
            for record in batch.to_pylist():
                number += 1
                yield f"{place}, row {number}", record
    except (pa.ArrowException, ValueError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{place} is not a whole parquet file after row {number}: {reason}; write it again"
        ) from error


def read_icwsm2014(stream: Stream, place: str, columns: Mapping[str, str], maximum: int) -> Iterator[Record]:
    """The rated texts of Hutto and Gilbert (2014): four pairs of tables in a tar.gz, joined by id.

    *_GroundTruth.txt holds id, mean, text; *_anonDataRatings.txt holds id, mean, deviation, single ratings.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            files = {member.name.rsplit("/")[-1]: member for member in archive if member.isfile()}
            for source, part in ICWSM_PARTS.items():
                truth, rated = (f"{part}_{kind}.txt" for kind in ("GroundTruth", "anonDataRatings"))
                texts = _table(_member(archive, files[truth]), f"{place}/{truth}", width=3)
                ratings = _table(_member(archive, files[rated]), f"{place}/{rated}", width=4)
                for key, (_, text) in texts.items():
                    found = json.loads(ratings[key][-1])
                    yield f"{place}/{truth}, id {key}", {"text": text, "source": source, "ratings": found}
    except KeyError as error:
        raise InputError(f"{place} lacks {error}: it is not the archive of ICWSM 2014") from error
    except (tarfile.TarError, *UNREADABLE) as error:
        raise InputError(f"{place} is not a whole tar.gz: {error}; get it again") from error


READERS: dict[str, Callable[..., Iterator[Record | None]]] = {
    "txt": read_txt,
    "txt/paragraph": read_paragraphs,
    "txt/file": partial(read_paragraphs, whole=True),
    "jsonl": read_jsonl,
    "csv": read_csv,
    "parquet": read_parquet,
    "icwsm2014": read_icwsm2014,
}
DOCUMENT = {  # what of a file is one document, as the data card says it
    "txt": "a line",
    "txt/paragraph": "a paragraph",
    "txt/file": "a file",
    "jsonl": "a line",
    "csv": "a record",
    "parquet": "a row",
    "icwsm2014": "a rated text",
}


def check_columns(columns: Mapping[str, str], present: Iterable[str], place: str) -> None:
    """Raise InputError if a column that `columns` names is not among those present, or is there twice."""
    for name in columns.values():
        if name not in present:
            first = [f"{each!r:.40}" for each in islice(present, LISTED + 1)]
            held = ", ".join([*first[:LISTED], *(["..."] if len(first) > LISTED else [])]) or "none"
            raise InputError(f"{place} has no column {name!r}: it has {held}; name one of them in `columns`")
        if isinstance(present, Sequence) and present.count(name) > 1:
            raise InputError(f"{place} has {present.count(name)} columns {name!r}: rename all but one")


def check_source(name: str, place: str) -> str:
    """The name of a source, if it can be part of a path and of a metric's name; else raises InputError."""
    if fault := names.fault(name):
        raise InputError(f"{place}: {fault}")
    return name


def raw_row(
    record: Mapping[str, Any], columns: Mapping[str, str], source: str, place: str, maximum: int
) -> Row | None:
    """A record as a row of the raw table, but for a label that may be UNLABELLED, or None if its text is longer than
    `maximum` bytes.

    columns: which of its fields are text, label, source, ratings. Raises InputError if they cannot be.
    """
    check_columns(columns, record, place)
    text = record[columns["text"]]
    if not isinstance(text, str):
        raise InputError(
            f"{place}: column {columns['text']!r} is {_seen(text)}, not text; mend or remove the row"
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        found = f"half a surrogate pair at character {error.start}"
        raise InputError(f"{place}: the text has {found}; mend or remove the row") from error
    if size > maximum:
        return None
    label = _label(record[columns["label"]], place) if "label" in columns else None
    origin = _origin(record[columns["source"]], source, place) if "source" in columns else source
    ratings = _ratings(record[columns["ratings"]], place) if "ratings" in columns else None
    return {"text": text, "source": origin, "label": label, "ratings": ratings}


def _seen(value: Any) -> str:
    """What a message shows of a value in a row: itself if it is short, for more may be somebody's."""
    text = repr(value)
    return text if len(text) <= SEEN else f"of type {type(value).__name__}, {len(text)} characters long"


def _origin(value: Any, source: str, place: str) -> str:
    """The source that a row names; where it names none, that of the whole file."""
    if value is None or value == "":
        return source
    if not isinstance(value, str):
        raise InputError(
            f"{place}: source is {_seen(value)}, not text; write a name, or nothing for {source!r}"
        )
    return check_source(value, place)


def _ratings(value: Any, place: str) -> list[int] | None:
    """A list of whole numbers, -4 to 4, as JSON and parquet hold it; nothing where nobody was asked."""
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(type(rating) is int and -4 <= rating <= 4 for rating in value):
        raise InputError(
            f"{place}: ratings are {_seen(value)}, not a list of whole numbers from -4 to 4; mend the row"
        )
    return value


def _label(value: Any, place: str) -> int | None:
    """0 or 1, also written 0.0 and 1.0. Nothing and NaN mean unlabelled, and so does -1 (as hub sets write it), which
    is given as it is."""
    found = value
    if isinstance(value, str):
        found = float(value) if re.fullmatch(r"\s*-?[01](\.0*)?\s*", value) else value.strip() or None
    if found is None or found != found:
        return None
    if found in (UNLABELLED, 0, 1):
        return int(found)
    raise InputError(
        f"{place}: label is {_seen(value)}: write 0 (negative), 1 (positive) or nothing (unknown)"
    )


def _lines(stream: Stream, place: str, maximum: int = 2**30) -> Iterator[tuple[int, str, bool]]:
    """Number and text of each line, without a byte order mark, and whether it is over `maximum` bytes.

    Of a line that is, only its marks are held and given (_marks).
    Raises InputError at the first byte that is not UTF-8.
    """
    offset = 0
    reader = io.BufferedReader(stream, PIECE)
    for number, line in enumerate(iter(lambda: reader.readline(maximum + 2), b""), start=1):
        if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(f"{place} is UTF-16 by its first two bytes: convert the file to UTF-8")
        too_long = len(line.removesuffix(b"\n").removesuffix(b"\r")) > maximum
        size = len(line)
        if too_long:
            pieces = [_marks(line)]
            while line and not line.endswith(b"\n"):
                line = reader.readline(PIECE)
                size += len(line)
                pieces.append(_marks(line))
            line = b"".join(pieces)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte {offset + error.start} is 0x{line[error.start]:02x}"
            likely = "cp949" if _decodes(line, "euc-kr") else "cp1252"
            raise InputError(
                f"{place}:{number} is not UTF-8: {byte}; convert the file to UTF-8 (from {likely}?)"
            ) from error
        if number == 1 and not too_long and text.rstrip("\r").count("\r") and not text.endswith("\n"):
            raise InputError(
                f"{place} ends its lines with a carriage return alone: convert them to line feeds"
            )
        offset += size
        yield number, text.removeprefix("\ufeff") if number == 1 else text, too_long


def _marks(line: bytes) -> bytes:
    """What csv's rules see in a line: its quotes, commas and line ends, and that there is text between them."""
    return ORDINARY.sub(b"x", line)


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _member(archive: tarfile.TarFile, file: tarfile.TarInfo) -> Stream:
    """A file of an archive; a folder is none."""
    stream = archive.extractfile(file)
    assert isinstance(stream, io.BufferedReader)
    return stream


def _table(stream: Stream, place: str, width: int) -> dict[str, list[str]]:
    """Lines of tab-separated fields, by their first."""
    rows = {}
    for number, line, _ in _lines(stream, place):
        key, *fields = line.rstrip("\r\n").split("\t", width - 1)
        if len(fields) != width - 1:
            found = f"{len(fields) + 1} fields, not {width}"
            raise InputError(f"{place}:{number} has {found}: get the file again")
        rows[key] = fields
    return rows
