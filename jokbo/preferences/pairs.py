"""The table of preference pairs: which of two texts somebody preferred, whoever it was.

A row is one pair: `prompt`; `responses`, two or more; `choice`, the index of the preferred one;
`labeller`, who chose; `kind`, "human" or "simulated"; `agreement`, the share of the raters asked who agree
with the choice; `time`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value

from jokbo.data.outputs import save_tables
from jokbo.runtime.errors import InputError

KINDS = ("human", "simulated")
FEATURES = Features(
    {
        "prompt": Value("string"),
        "responses": List(Value("string")),
        "choice": Value("int64"),
        "labeller": Value("string"),
        "kind": Value("string"),
        "agreement": Value("float64"),
        "time": Value("string"),
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


def _problem(row: Pair) -> str | None:
    missing, unknown = sorted(FEATURES.keys() - row.keys()), sorted(row.keys() - FEATURES.keys())
    if missing or unknown:
        return f"missing {missing}, unknown {unknown}; the columns are {', '.join(FEATURES)}"
    responses = row["responses"]
    if len(responses) < 2:
        return f"{len(responses)} response(s); give two or more"
    for index, response in enumerate(responses):
        if not isinstance(response, str) or not response.strip():
            return f"response {index} is {response!r}; give a text"
    if not isinstance(row["choice"], int) or not 0 <= row["choice"] < len(responses):
        return f"choice is {row['choice']!r}; give the index of a response, 0 to {len(responses) - 1}"
    if row["kind"] not in KINDS:
        return f"kind is {row['kind']!r}; give one of {', '.join(KINDS)}"
    if not 0 <= row["agreement"] <= 1:
        return f"agreement is {row['agreement']!r}; give a share, 0 to 1"
    return None
