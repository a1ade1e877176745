"""Forms of our own, a row a judgement: pairs (chosen, rejected), choices, and rankings.

pairs: `prompt`, `chosen`, `rejected`. choices: `prompt`, `responses` (a list) and `choice` (an index, counted from 0,
or tie), or, as a csv can have it, `prompt`, `first`, `second` and `choice` (first, second or tie). rankings: `prompt`,
`responses` and `ranking` (indices, the best first; a list of indices where responses are tied). `labeller` and `time`
may stand in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jokbo.preferences.forms.form import Columns, Files, Form, Record, lines, one_of, required
from jokbo.preferences.judgement import TIE, Judgement, judged, seen, shuffled
from jokbo.preferences.pairs import Pair
from jokbo.runtime.errors import InputError

WHO = {"labeller": "labeller", "time": "time"}


def read_pairs(records: Iterable[Record], columns: Columns, items: Sequence[Record]) -> Iterator[Judgement]:
    """Yield a judgement a row; which response stands first in it is by chance, or the order would tell the choice."""
    for location, record in records:
        prompt, *sides = required(
            location, record, *(columns[name] for name in ("prompt", "chosen", "rejected"))
        )
        found = judged(location, prompt, sides, [0, 1], **_who(record, columns))
        order = shuffled(prompt, sides, 0, 1)
        ranking = [[order.index(0)], [order.index(1)]]
        yield replace(found, responses=[sides[index] for index in order], ranking=ranking)


def write_pairs(rows: Sequence[Pair]) -> Files:
    made = (
        {"prompt": row["prompt"], "chosen": row["responses"][row["choice"]]}
        | {"rejected": row["responses"][1 - row["choice"]]}
        | _named(row)
        for row in rows
    )
    return {"pairs.jsonl": lines(made)}


def read_choices(records: Iterable[Record], columns: Columns, items: Sequence[Record]) -> Iterator[Judgement]:
    """Yield a judgement a row: the chosen response, and the others, tied."""
    for location, record in records:
        prompt, choice = required(location, record, columns["prompt"], columns["choice"])
        if columns["responses"] in record:
            responses = _listed(location, record[columns["responses"]])
            allowed: dict[Any, Any] = {index: index for index in range(len(responses))} | {"tie": None}
        else:
            responses = required(location, record, columns["first"], columns["second"])
            allowed = {"first": 0, "second": 1, "tie": None}
        chosen = one_of(location, "the choice", choice, allowed)
        if chosen is None and len(responses) != 2:
            raise InputError(f"{location}: the choice is tie of {len(responses)} responses: write a ranking")
        others = [index for index in range(len(responses)) if index != chosen]
        ranking = TIE if chosen is None else [[chosen], others]
        yield judged(location, prompt, responses, ranking, **_who(record, columns))


def write_choices(rows: Sequence[Pair]) -> Files:
    made = (
        {"prompt": row["prompt"], "responses": row["responses"]}
        | {"choice": "tie" if row["choice"] is None else row["choice"]}
        | _named(row)
        for row in rows
    )
    return {"choices.jsonl": lines(made)}


def read_rankings(
    records: Iterable[Record], columns: Columns, items: Sequence[Record]
) -> Iterator[Judgement]:
    for location, record in records:
        names = (columns[name] for name in ("prompt", "responses", "ranking"))
        prompt, responses, ranking = required(location, record, *names)
        yield judged(location, prompt, _listed(location, responses), ranking, **_who(record, columns))


def write_rankings(rows: Sequence[Pair]) -> Files:
    made = (
        {"prompt": row["prompt"], "responses": row["responses"]}
        | {"ranking": TIE if row["choice"] is None else [row["choice"], 1 - row["choice"]]}
        | _named(row)
        for row in rows
    )
    return {"rankings.jsonl": lines(made)}


def _listed(location: str, responses: Any) -> list[Any]:
    if not isinstance(responses, list):
        raise InputError(f"{location}: the responses are {seen(responses)}: give a list of texts")
    return responses


def _who(record: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    return {name: record.get(columns[name]) for name in WHO}


def _named(row: Pair) -> dict[str, Any]:
    return {name: row[name] for name in WHO if row[name] is not None}


PROMPTED = {"prompt": "prompt", **WHO}
PAIRS = Form(
    PROMPTED | {"chosen": "chosen", "rejected": "rejected"},
    read_pairs,
    write_pairs,
    lost="which of the two stood first",
    ties=False,
    closed=True,
)
CHOICES = Form(
    PROMPTED | {"responses": "responses", "first": "first", "second": "second", "choice": "choice"},
    read_choices,
    write_choices,
    closed=True,
)
RANKINGS = Form(
    PROMPTED | {"responses": "responses", "ranking": "ranking"}, read_rankings, write_rankings, closed=True
)
