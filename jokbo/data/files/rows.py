"""Rows of the raw table: what a record becomes, whatever its format, and what is refused in one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
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
        ("label", pa.int64()),  # 0 negative, 1 positive, null unknown
        ("ratings", pa.list_(pa.int64())),  # single human ratings, -4 to 4; null if nobody rated it
        ("turns", conversations.SCHEMA),  # of a conversation, whose text is theirs; null for another text
    ]
)
Row = dict[str, Any]  # with the columns of RAW_SCHEMA, but for those that are null
UNLABELLED = -1
LISTED, SEEN = 10, 20  # most names in a message, and most characters of a value


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
    record: Mapping[str, Any], columns: Mapping[str, str], source: str, location: str, maximum: int
) -> Row | LeftOut | None:
    """Return a record as a row of the raw table, or None if its text is longer than `maximum` bytes.

    The label may be UNLABELLED. columns: which fields are text, label, source and ratings, or a conversation's. One
    that nothing can be learned from is left out. Raises InputError for a field that is missing or holds something else.
    """
    check_columns(columns, record, location)
    turns: conversations.Turns = ()
    if conversations.form_of(columns):
        try:
            turns = conversations.read(record, columns, location)
        except conversations.Unfit as unfit:
            return LeftOut(location, str(unfit))
    text = conversations.text_of(turns) if turns else record[columns["text"]]
    if not isinstance(text, str):
        raise InputError(
            f"{location}: column {columns['text']!r} is {_seen(text)}, not text; correct or remove the row"
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        found = f"half a surrogate pair at character {error.start}"
        raise InputError(f"{location}: the text has {found}; correct or remove the row") from error
    if size > maximum:
        return None
    label = _label(record[columns["label"]], location) if "label" in columns else None
    named = _source_of(record[columns["source"]], source, location) if "source" in columns else source
    ratings = _ratings(record[columns["ratings"]], location) if "ratings" in columns else None
    row = {"text": text, "source": named, "label": label, "ratings": ratings}
    return row | ({"turns": [turn._asdict() for turn in turns]} if turns else {})


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


def _label(value: Any, location: str) -> int | None:
    """Return a label: 0 or 1, also written 0.0 and 1.0, or None for nothing and NaN, which mean unlabelled.

    -1 means unlabelled in sets of the hub, and is returned as it is: UNLABELLED.
    """
    found = value
    if isinstance(value, str):
        found = float(value) if re.fullmatch(r"\s*-?[01](\.0*)?\s*", value) else value.strip() or None
    if found is None or found != found:
        return None
    if found in (UNLABELLED, 0, 1):
        return int(found)
    raise InputError(
        f"{location}: label is {_seen(value)}: write 0 (negative), 1 (positive) or nothing (unknown)"
    )
