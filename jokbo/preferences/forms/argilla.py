"""Argilla's JSON of records, as `dataset.records.to_json` writes it (2.8): a label or a ranking question.

A record has `fields` (the prompt and the answers), `responses` (by question, a list of `{value, user_id}`) and
`metadata`. The values of the question are the names of the fields with the answers, and `tie`. The time of a response
is not exported; a metadata property `time` is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jokbo.preferences.forms.form import Columns, Files, Form, Record, array, one_of, required
from jokbo.preferences.judgement import TIE, Judgement, Skipped, judged
from jokbo.preferences.pairs import Pair
from jokbo.runtime.errors import InputError

NOBODY = "None"  # what Argilla writes where a response has no user


def read(
    records: Iterable[Record], columns: Columns, items: Sequence[Record]
) -> Iterator[Judgement | Skipped]:
    """Yield a judgement a response to the question; a record to which nobody responded is skipped."""
    for location, record in records:
        fields, responses = required(location, record, "fields", "responses")
        if not isinstance(fields, Mapping) or not isinstance(responses, Mapping):
            raise InputError(f"{location}: its fields or responses are no such: write it by records.to_json")
        given = responses.get(columns["choice"]) or []
        if responses and columns["choice"] not in responses:
            has = ", ".join(responses)
            raise InputError(
                f"{location}: there is no question {columns['choice']!r}: it has {has}; set columns.choice"
            )
        if not given:
            yield Skipped(location, "nobody chose")
        for number, each in enumerate(given):
            time = (record.get("metadata") or {}).get(columns["time"])
            yield _judged(f"{location}, response {number}", fields, each, columns, time)


def _judged(
    location: str, fields: Mapping[str, Any], response: Mapping[str, Any], columns: Columns, time: Any
) -> Judgement:
    (value,), user = required(location, response, "value"), response.get("user_id")
    who = {"labeller": None if user == NOBODY else user, "time": time}
    (prompt,) = required(location, fields, columns["prompt"])
    if isinstance(value, list):  # of a ranking question, the best first
        names = [each.get("value") if isinstance(each, Mapping) else each for each in value]
        answers = required(location, fields, *map(str, names))
        return judged(location, prompt, answers, list(range(len(answers))), **who)
    names = [columns["first"], columns["second"]]
    ranking = one_of(location, "the response", value, {names[0]: [0, 1], names[1]: [1, 0], "tie": TIE})
    return judged(location, prompt, required(location, fields, *names), ranking, **who)


def write(rows: Sequence[Pair]) -> Files:
    records = []
    for number, row in enumerate(rows, 1):
        value = "tie" if row["choice"] is None else ("response_1", "response_2")[row["choice"]]
        fields = {
            "prompt": row["prompt"],
            "response_1": row["responses"][0],
            "response_2": row["responses"][1],
        }
        metadata = {} if row["time"] is None else {"time": row["time"]}
        responses = {"preference": [{"value": value, "user_id": row["labeller"]}]}
        records.append({"id": str(number), "fields": fields, "metadata": metadata, "responses": responses})
    return {"argilla.json": array(records)}


FORM = Form(
    {
        "prompt": "prompt",
        "first": "response_1",
        "second": "response_2",
        "choice": "preference",
        "time": "time",
    },
    read,
    write,
)
