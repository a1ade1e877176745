"""Potato's jsonl export of a pairwise scheme (2.12), and the file of the items, whose texts the export does not hold.

A line of the export has `instance_id`, `user_id` and `labels`: by scheme `{selection: A | B | tie}`, or
`{scale_value}`, below 0 where the first response is preferred. An item has `id`, the prompt, and a list of two
responses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jokbo.preferences.forms.form import Columns, Files, Form, Record, lines, one_of, required
from jokbo.preferences.judgement import TIE, Judgement, Skipped, judged, seen
from jokbo.preferences.pairs import Pair
from jokbo.runtime.errors import InputError

SELECTIONS = {"A": [0, 1], "B": [1, 0], "tie": TIE}


def read(
    records: Iterable[Record], columns: Columns, items: Sequence[Record]
) -> Iterator[Judgement | Skipped]:
    """Yield a judgement a line; a line without the scheme is skipped."""
    known: dict[str, Record] = {}
    for place, item in items:
        (name,) = required(place, item, "id")
        if str(name) in known:
            raise InputError(f"{place}: the item {seen(name)} stands there a second time: remove one")
        known[str(name)] = (place, item)
    for location, record in records:
        instance, labels = required(location, record, "instance_id", "labels")
        if not isinstance(labels, Mapping) or not labels.get(columns["choice"]):
            yield Skipped(location, "nobody chose")
            continue
        if str(instance) not in known:
            raise InputError(
                f"{location}: the item {seen(instance)} is not in the file of the items: name the right one"
            )
        place, item = known[str(instance)]
        prompt, responses = required(place, item, columns["prompt"], columns["responses"])
        if not isinstance(responses, list) or len(responses) != 2:
            raise InputError(f"{place}: the responses are {seen(responses)}: give a list of two texts")
        ranking = _ranking(location, labels[columns["choice"]])
        yield judged(location, prompt, responses, ranking, labeller=record.get("user_id"))


def _ranking(location: str, label: Any) -> Any:
    if isinstance(label, Mapping) and "scale_value" in label:
        try:
            scale = float(label["scale_value"])
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{location}: scale_value is {seen(label['scale_value'])}: it must be a number"
            ) from error
        return TIE if not scale else [0, 1] if scale < 0 else [1, 0]
    selection = label.get("selection") if isinstance(label, Mapping) else label
    return one_of(location, "the selection", selection, SELECTIONS)


def write(rows: Sequence[Pair]) -> Files:
    judgements, items = [], []
    for number, row in enumerate(rows, 1):
        selection = "tie" if row["choice"] is None else "AB"[row["choice"]]
        judgements.append(
            {
                "instance_id": str(number),
                "user_id": row["labeller"],
                "labels": {"preference": {"selection": selection}},
                "spans": [],
                "links": {},
            }
        )
        items.append({"id": str(number), "prompt": row["prompt"], "responses": row["responses"]})
    return {"annotations.jsonl": lines(judgements), "items.jsonl": lines(items)}


FORM = Form(
    {"prompt": "prompt", "responses": "responses", "choice": "preference"}, read, write, lost="the time"
)
