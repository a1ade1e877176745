"""Label Studio's JSON export of tasks whose answers were compared by a Pairwise or a Ranker tag (1.23).

A task has `data` (the prompt and the answers, by the names of its template) and `annotations`, each with
`completed_by`, `created_at` and a `result`. Of Pairwise that is `{type: pairwise, value: {selected: left | right}}`; it
knows no tie. Of Ranker it is `{type: ranker, value: {ranker: {BUCKET: [ids]}}}`, of `data.items`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jokbo.preferences.forms.form import Columns, Files, Form, Record, array, one_of, required
from jokbo.preferences.judgement import Judgement, Skipped, judged, seen
from jokbo.preferences.pairs import Pair
from jokbo.runtime.errors import InputError

SIDES = {"left": [0, 1], "right": [1, 0]}


def read(
    records: Iterable[Record], columns: Columns, items: Sequence[Record]
) -> Iterator[Judgement | Skipped]:
    """Yield a judgement an annotation; skipped are those that were cancelled or chose nothing."""
    for location, task in records:
        data, annotations = required(location, task, "data", "annotations")
        if not isinstance(data, Mapping) or not isinstance(annotations, list):
            raise InputError(f"{location}: its data or annotations are no such: export the project as JSON")
        for number, annotation in enumerate(annotations):
            yield _judged(f"{location}, annotation {number}", data, annotation, columns)


def _judged(
    location: str, data: Mapping[str, Any], annotation: Mapping[str, Any], columns: Columns
) -> Judgement | Skipped:
    by, result = annotation.get("completed_by"), annotation.get("result") or []
    found = [
        each for each in result if isinstance(each, Mapping) and each.get("type") in ("pairwise", "ranker")
    ]
    if annotation.get("was_cancelled") or not found:
        return Skipped(location, "nobody chose")
    if len(found) > 1:
        raise InputError(
            f"{location}: it has {len(found)} choices: one Pairwise or Ranker a task can be read"
        )
    who = {
        "labeller": by.get("email") if isinstance(by, Mapping) else by,
        "time": annotation.get(columns["time"]),
    }
    value = found[0].get("value") or {}
    if found[0]["type"] == "pairwise":
        prompt, *answers = required(
            location, data, *(columns[name] for name in ("prompt", "first", "second"))
        )
        ranking = one_of(location, "what is selected", value.get("selected"), SIDES)
        return judged(location, prompt, answers, ranking, **who)
    prompt, listed = required(location, data, columns["prompt"], columns["responses"])
    bodies = {each["id"]: each.get("body") for each in listed if isinstance(each, Mapping) and "id" in each}
    buckets = [ids for ids in (value.get("ranker") or {}).values() if ids]
    if len(buckets) != 1:
        raise InputError(
            f"{location}: its items lie in {len(buckets)} buckets: one that ranks them all can be read"
        )
    ids = list(bodies)
    ranking = [ids.index(each) if each in bodies else seen(each) for each in buckets[0]]
    return judged(location, prompt, list(bodies.values()), ranking, **who)


def write(rows: Sequence[Pair]) -> Files:
    tasks = []
    for number, row in enumerate(rows, 1):
        selected = "left" if row["choice"] == 0 else "right"
        region = {"from_name": "comparison", "to_name": "comparison", "type": "pairwise"}
        annotation = {
            "id": number,
            "completed_by": {"email": row["labeller"]} if row["labeller"] is not None else None,
            "created_at": row["time"],
            "was_cancelled": False,
            "result": [{**region, "value": {"selected": selected}}],
        }
        data = {"prompt": row["prompt"], "answer1": row["responses"][0], "answer2": row["responses"][1]}
        tasks.append({"id": number, "data": data, "annotations": [annotation]})
    return {"label_studio.json": array(tasks)}


FORM = Form(
    {"prompt": "prompt", "first": "answer1", "second": "answer2", "responses": "items", "time": "created_at"},
    read,
    write,
    ties=False,
)
