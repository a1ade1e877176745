"""The table of preference pairs: which of two responses somebody preferred, whoever it was.

A row is one pair: `prompt`, empty where the texts answer none; `responses`, two; `choice`, the index of the preferred
one, null for a tie; `labeller`, who chose, null if nobody is named; `time`, in ISO 8601, null if unknown; `source`, the
source of rated texts, or the name of the labeller in params.yaml; `agreement`, the share of the raters asked who agree
with the choice; `by_policy`, whether the supervised policy wrote the responses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value

from jokbo.data.tables import save_tables
from jokbo.runtime.errors import InputError

FEATURES = Features(
    {
        "prompt": Value("string"),
        "responses": List(Value("string")),
        "choice": Value("int64"),
        "labeller": Value("string"),
        "time": Value("string"),
        "source": Value("string"),
        "agreement": Value("float64"),
        "by_policy": Value("bool"),
    }
)

Pair = dict[str, Any]  # a row of FEATURES


def table_of(rows: Sequence[Pair]) -> Dataset:
    """Return the rows as a data set with FEATURES; InputError names the first bad row, counted from 0."""
    for number, row in enumerate(rows):
        problem = _problem(row)
        if problem:
            raise InputError(f"preference pair {number}: {problem}")
    return Dataset.from_list(list(rows), features=FEATURES)


def save(splits: Mapping[str, Sequence[Pair]], path: Path) -> None:
    """Write checked splits as a DatasetDict: the same rows make the same bytes."""
    save_tables({name: table_of(rows).data.table for name, rows in splits.items()}, path)


def decided(rows: Iterable[Pair]) -> list[Pair]:
    """Return the rows that are no tie: a model of who wins (Bradley and Terry 1952) has nothing to learn from a tie."""
    return [row for row in rows if row["choice"] is not None]


def _problem(row: Pair) -> str | None:
    missing, unknown = sorted(FEATURES.keys() - row.keys()), sorted(row.keys() - FEATURES.keys())
    if missing or unknown:
        return f"missing {missing}, unknown {unknown}; the columns are {', '.join(FEATURES)}"
    responses = row["responses"]
    if len(responses) != 2:
        return f"{len(responses)} response(s); give two"
    for index, response in enumerate(responses):
        if not isinstance(response, str) or not response.strip():
            return f"response {index} is {response!r}; give a text"
    if row["choice"] is not None and (type(row["choice"]) is not int or row["choice"] not in (0, 1)):
        return f"choice is {row['choice']!r}; give the index of a response, 0 or 1, or nothing for a tie"
    if not 0 <= row["agreement"] <= 1:
        return f"agreement is {row['agreement']!r}; give a share, 0 to 1"
    return None
