"""What every form of a file of judgements is: how it is read, how it is written, and what it cannot hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jokbo.preferences.judgement import Judgement, Skipped, seen
from jokbo.preferences.pairs import Pair
from jokbo.runtime.errors import InputError

Record = tuple[str, Mapping[str, Any]]  # a location, and the fields there
Columns = Mapping[str, str]  # our name of a field -> its name in the file
Files = Mapping[str, str]  # name -> text


@dataclass(frozen=True)
class Form:
    """One form of a file of judgements."""

    columns: Columns  # the fields that it may have, and what they are called if params.yaml says nothing else
    read: Callable[[Iterable[Record], Columns, Sequence[Record]], Iterator[Judgement | Skipped]]
    write: Callable[[Sequence[Pair]], Files]  # of the rows that it can hold
    lost: str = ""  # what of a row it cannot hold, in words
    ties: bool = True  # whether it can hold a tie
    closed: bool = False  # whether a column that is none of ours is refused


def required(location: str, record: Mapping[str, Any], *names: str) -> list[Any]:
    """Return the values of these fields of a record. InputError for the first that is not there."""
    for name in names:
        if name not in record:
            raise InputError(
                f"{location}: there is no {name!r}: it has {', '.join(map(str, record)) or 'nothing'}"
            )
    return [record[name] for name in names]


def one_of(location: str, what: str, value: Any, allowed: Mapping[Any, Any]) -> Any:
    """Return what a value stands for. InputError if it stands for nothing."""
    if not isinstance(value, str | int | None) or isinstance(value, bool) or value not in allowed:
        raise InputError(f"{location}: {what} is {seen(value)}: it must be {', '.join(map(str, allowed))}")
    return allowed[value]


def lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as jsonl."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def array(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as one JSON array, a row a line."""
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"
