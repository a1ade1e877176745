"""Rows of the raw table: what a record becomes, whatever its format, and what is refused in one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from jokbo.data.conversations import turns as conversations
from jokbo.data.files.left_out import LeftOut
from jokbo.params import names
from jokbo.runtime.errors import InputError

RAW_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("source", pa.string()),
        ("label", pa.string()),  # the name of a class, null unknown; of a sentiment 0 negative, 1 positive
        ("ratings", pa.list_(pa.int64())),  # single human ratings, -4 to 4; null if nobody rated it
        ("others", pa.list_(pa.string())),  # of a pair or a choice, null if there are none
        ("turns", conversations.SCHEMA),  # of a conversation, whose text is theirs; null for another text
    ]
)
Row = dict[str, Any]  # with the columns of RAW_SCHEMA, but for those that are null
UNLABELLED = "-1"
LABEL = 100  # most characters of a label
LISTED, SEEN = 10, 20  # most names in a message, and most characters of a value


@dataclass(frozen=True)
class Origin:
    """An entry of fetch.sources, as its rows know it."""

    name: str  # the source of rows that name none
    labels: tuple[str, ...] = ()  # that its rows may have; none: any


def check_columns(columns: Mapping[str, str], present: Iterable[str], location: str) -> None:
    """Raise InputError if a column that `columns` names is not among those present, or is there twice."""
    for name in columns.values():
        if name not in present:
            first = [f"{each!r:.40}" for each in islice(present, LISTED + 1)]
            held = ", ".join([*first[:LISTED], *(["..."] if len(first) > LISTED else [])]) or "none"
            raise InputError(
                f"{location} has no column {name!r}: it has {held}; name one of them in `columns`"
            )
        if isinstance(present, Sequence) and present.count(name) > 1:
            raise InputError(f"{location} has {present.count(name)} columns {name!r}: rename all but one")


def check_source(name: str, location: str) -> str:
    """Return the name of a source. Raises InputError if it cannot be part of a path and of a metric's name."""
    if fault := names.fault(name):
        raise InputError(f"{location}: {fault}")
    return name


def raw_row(
    record: Mapping[str, Any], columns: Mapping[str, str], source: Origin, location: str, maximum: int
) -> Row | LeftOut | None:
    """Return a record as a row of the raw table, or None if a text of it is longer than `maximum` bytes.

    The label may be UNLABELLED. columns: which fields are text, others.0 ..., label, source and ratings, or a
    conversation's. One that nothing can be learned from is left out. Raises InputError for a field that is missing or
    holds something else.
    """
    check_columns(columns, record, location)
    turns: conversations.Turns = ()
    if conversations.form_of(columns):
        try:
            turns = conversations.read(record, columns, location)
        except conversations.Unfit as unfit:
            return LeftOut(location, str(unfit))
    text = conversations.text_of(turns) if turns else record[columns["text"]]
    texts = [
        (text, columns.get("text", "")),
        *((record[name], name) for field, name in columns.items() if field.startswith("others.")),
    ]
    if max(_size(each, name, location) for each, name in texts) > maximum:
        return None
    label = _label(record[columns["label"]], source, location) if "label" in columns else None
    named = (
        _source_of(record[columns["source"]], source.name, location) if "source" in columns else source.name
    )
    ratings = _ratings(record[columns["ratings"]], location) if "ratings" in columns else None
    row = {"text": text, "source": named, "label": label, "ratings": ratings}
    if len(texts) > 1:
        row["others"] = [each for each, _ in texts[1:]]
    return row | ({"turns": [turn._asdict() for turn in turns]} if turns else {})


def _size(text: Any, column: str, location: str) -> int:
    """Return how many bytes of UTF-8 a text has."""
    if not isinstance(text, str):
        raise InputError(
            f"{location}: column {column!r} is {_seen(text)}, not text; correct or remove the row"
        )
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        found = f"half a surrogate pair at character {error.start}"
        raise InputError(f"{location}: the text has {found}; correct or remove the row") from error


def _seen(value: Any) -> str:
    """Return what a message shows of a value in a row: all of it only if it is short, for it may be private."""
    text = repr(value)
    return text if len(text) <= SEEN else f"of type {type(value).__name__}, {len(text)} characters long"


def _source_of(value: Any, source: str, location: str) -> str:
    """Return the source that a row names; if it names none, that of the whole file."""
    if value is None or value == "":
        return source
    if not isinstance(value, str):
        raise InputError(
            f"{location}: source is {_seen(value)}, not text; write a name, or nothing for {source!r}"
        )
    return check_source(value, location)


def _ratings(value: Any, location: str) -> list[int] | None:
    """Return a list of whole numbers from -4 to 4, as JSON and parquet have it; None if nobody rated the text."""
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(type(rating) is int and -4 <= rating <= 4 for rating in value):
        raise InputError(
            f"{location}: ratings are {_seen(value)}, not a list of whole numbers from -4 to 4; correct the row"
        )
    return value


def _label(value: Any, source: Origin, location: str) -> str | None:
    """Return a label by its name: a word, or a whole number, also written 1.0. None for nothing and NaN, which mean
    unlabelled.

    -1 means unlabelled in sets of the hub, and is returned as it is: UNLABELLED. Raises InputError for anything else,
    and for a label that is none of the source's.
    """
    found = value
    if isinstance(value, str):
        words = " ".join(value.split())
        found = words.partition(".")[0] if re.fullmatch(r"-?[0-9]+\.0*", words) else words or None
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        found = str(int(value))
    if found is None or found != found:
        return None
    if not isinstance(found, str) or len(found) > LABEL or not found.isprintable():
        raise InputError(
            f"{location}: label is {_seen(value)}: write a word of at most {LABEL} characters, a whole number, or "
            "nothing (unknown)"
        )
    if source.labels and found not in (*source.labels, UNLABELLED):
        allowed = ", ".join([*source.labels[:LISTED], *["..."] * (len(source.labels) > LISTED)])
        raise InputError(
            f"{location}: label is {_seen(found)}, which is none of fetch.sources.{source.name}.labels ({allowed}): "
            "correct the row, or name it there"
        )
    return found
