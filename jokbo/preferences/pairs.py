"""The table of preference pairs: which of two responses somebody preferred, whoever it was.

A row is one pair: `prompt`, empty where the texts answer none; `responses`, two; `choice`, the index of the preferred
one, null for a tie; `labeller`, who chose, null if nobody is named; `time`, in ISO 8601, null if unknown; `source`, the
source of rated texts, or the name of the labeller in params.yaml; `agreement`, the share of the raters asked who agree
with the choice; `by_policy`, whether the supervised policy wrote the responses. Where a model judged any of them there
is one column more, `probability`: how probable it finds it that the first response is the better one, null in the rows
of others.
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

SOFT = Features({**FEATURES, "probability": Value("float64")})

Pair = dict[str, Any]  # a row of FEATURES, or of SOFT


def table_of(rows: Sequence[Pair], features: Features = FEATURES) -> Dataset:
    """Return the rows as a data set with these columns; InputError names the first bad row, counted from 0."""
    for number, row in enumerate(rows):
        problem = _problem(row)
        if problem:
            raise InputError(f"preference pair {number}: {problem}")
    columns = {name: [row.get(name) for row in rows] for name in features}
    return Dataset.from_dict(columns, features=features)


def save(splits: Mapping[str, Sequence[Pair]], path: Path) -> None:
    """Write checked splits as a DatasetDict: the same rows make the same bytes."""
    soft = any("probability" in row for rows in splits.values() for row in rows)
    features = SOFT if soft else FEATURES
    save_tables({name: table_of(rows, features).data.table for name, rows in splits.items()}, path)


def decided(rows: Iterable[Pair]) -> list[Pair]:
    """Return the rows that are no tie: a model of who wins (Bradley and Terry 1952) has nothing to learn from a tie."""
    return [row for row in rows if row["choice"] is not None]


def _problem(row: Pair) -> str | None:
    missing, unknown = sorted(FEATURES.keys() - row.keys()), sorted(row.keys() - SOFT.keys())
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
    if row.get("probability") is not None and not 0 <= row["probability"] <= 1:
        return f"probability is {row['probability']!r}; give one from 0 to 1, or nothing"
    return None
