"""Each form: rows as the tools write them, what is refused, and that what is exported comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jokbo.params import ComparisonFile
from jokbo.preferences import imported
from jokbo.preferences.forms import FORMS, export
from jokbo.preferences.judgement import Judgement, Skipped, judged, moment, pairs_of
from jokbo.preferences.pairs import Pair, table_of
from jokbo.runtime.errors import InputError

pytestmark = pytest.mark.usefixtures("local")
FILES = {form: f"{form}.jsonl" for form in FORMS}
FILES |= {"label_studio": "label_studio.json", "argilla": "argilla.json", "potato": "annotations.jsonl"}


def read(form: str, **changes: Any) -> list[Judgement]:
    items = "items.jsonl" if form == "potato" else None
    tree = {"kind": "file", "form": form, "paths": FILES[form], "items": items, "held_out": 0.1} | changes
    return imported.judgements("mine", ComparisonFile.model_validate(tree), {})[0]


def write(local: Path, name: str, rows: list[dict[str, Any]]) -> None:
    text = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows)
    (local / name).write_text(text)


def shown(judgement: Judgement) -> tuple[Any, ...]:
    """The judgement with its responses in the order of the ranking, those that are tied together."""
    order = [sorted(judgement.responses[index] for index in group) for group in judgement.ranking]
    return judgement.prompt, order, judgement.labeller, judgement.time


PAIR = {"prompt": "Q?", "chosen": "good", "rejected": "bad"}
TASK = {
    "id": 7,
    "data": {"prompt": "Q?", "answer1": "bad", "answer2": "good"},
    "annotations": [
        {
            "id": 1,
            "completed_by": 3,
            "created_at": "2026-03-01T10:00:00.000000Z",
            "was_cancelled": False,
            "result": [
                {
                    "id": "x",
                    "from_name": "comparison",
                    "to_name": "comparison",
                    "type": "pairwise",
                    "value": {"selected": "right"},
                }
            ],
        },
        {"id": 2, "completed_by": 4, "was_cancelled": True, "result": []},
    ],
    "predictions": [],
}
RANKED = {
    "id": 8,
    "data": {"prompt": "Q?", "items": [{"id": "a", "body": "bad"}, {"id": "b", "body": "good"}]},
    "annotations": [
        {
            "completed_by": {"email": "ann@x"},
            "result": [{"type": "ranker", "value": {"ranker": {"_": ["b", "a"]}}}],
        }
    ],
}
RECORD = {
    "id": "1",
    "fields": {"prompt": "Q?", "response_1": "bad", "response_2": "good"},
    "metadata": {},
    "suggestions": {},
    "responses": {
        "preference": [{"value": "response_2", "user_id": "u1"}, {"value": "tie", "user_id": "None"}]
    },
    "vectors": {},
    "status": "completed",
    "_server_id": "s",
}
VOTE = {
    "question_id": "58210e39b3fd4441a2bd4a518bb44c2d",
    "model_a": "chatglm-6b",
    "model_b": "koala-13b",
    "winner": "model_b",
    "judge": "arena_user_973",
    "conversation_a": [{"content": "Q?", "role": "user"}, {"content": "bad", "role": "assistant"}],
    "conversation_b": [{"content": "Q?", "role": "user"}, {"content": "good", "role": "assistant"}],
    "turn": 1,
    "anony": True,
    "language": "English",
    "tstamp": 1682351591.1322,
}
PARTS = [{"type": "text", "text": "Q?", "image": None}]
LATER = {
    "id": "c4b9710c",
    "winner": "both_bad",
    "conversation_a": [{"role": "user", "content": PARTS}, {"role": "assistant", "content": "bad"}],
    "conversation_b": [{"role": "user", "content": PARTS}, {"role": "assistant", "content": "good"}],
    "timestamp": "2025-06-01 10:00:00",
}
LINE = {
    "instance_id": "1",
    "user_id": "ann",
    "labels": {"preference": {"selection": "B"}},
    "spans": [],
    "links": {},
}
ITEM = {"id": "1", "prompt": "Q?", "responses": ["bad", "good"]}
BEST, TIED = [["good"], ["bad"]], [["bad", "good"]]


@pytest.mark.parametrize(
    ("form", "rows", "found"),
    [
        ("pairs", [PAIR], [("Q?", BEST, None, None)]),
        (
            "pairs",
            [PAIR | {"labeller": "ann", "time": "2026-03-01"}],
            [("Q?", BEST, "ann", "2026-03-01T00:00:00Z")],
        ),
        (
            "choices",
            [{"prompt": "Q?", "responses": ["bad", "good"], "choice": 1}],
            [("Q?", BEST, None, None)],
        ),
        (
            "choices",
            [{"prompt": "Q?", "first": "bad", "second": "good", "choice": "tie"}],
            [("Q?", TIED, None, None)],
        ),
        (
            "choices",
            [{"prompt": "Q?", "responses": ["bad", "good", "poor"], "choice": 1}],
            [("Q?", [["good"], ["bad", "poor"]], None, None)],
        ),
        (
            "rankings",
            [{"prompt": "Q?", "responses": ["a", "b", "c"], "ranking": [2, [1, 0]]}],
            [("Q?", [["c"], ["a", "b"]], None, None)],
        ),
        (
            "label_studio",
            [TASK, RANKED],
            [("Q?", BEST, "3", "2026-03-01T10:00:00Z"), ("Q?", BEST, "ann@x", None)],
        ),
        ("argilla", [RECORD], [("Q?", BEST, "u1", None), ("Q?", TIED, None, None)]),
        (
            "argilla",
            [
                RECORD
                | {"responses": {"preference": [{"value": ["response_2", "response_1"], "user_id": "u2"}]}}
            ],
            [("Q?", BEST, "u2", None)],
        ),
        ("potato", [LINE], [("Q?", BEST, "ann", None)]),
        (
            "potato",
            [LINE | {"labels": {"preference": {"scale_value": "-2"}}}],
            [("Q?", BEST[::-1], "ann", None)],
        ),
        (
            "arena",
            [VOTE, LATER],
            [
                ("Q?", BEST, "arena_user_973", "2023-04-24T15:53:11.132200Z"),
                ("Q?", TIED, None, "2025-06-01T10:00:00Z"),
            ],
        ),
    ],
)
def test_a_row_as_the_tool_writes_it(local: Path, form: str, rows: list[Any], found: list[Any]) -> None:
    write(local, FILES[form], rows)
    write(local, "items.jsonl", [ITEM])
    assert [shown(each) for each in read(form)] == found


def test_a_csv_with_names_of_its_own_and_columns_that_are_not_read(local: Path) -> None:
    (local / "mine.csv").write_text('number,question,better,worse\n1,"Is it, well?",yes,no\n')
    columns = {"prompt": "question", "chosen": "better", "rejected": "worse"}
    found = read("pairs", paths="*.csv", columns=columns, ignore=["number"])
    assert [shown(each) for each in found] == [("Is it, well?", [["yes"], ["no"]], None, None)]


TALK = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "bad"}]


@pytest.mark.parametrize(
    ("form", "rows", "message"),
    [
        (
            "pairs",
            [PAIR, PAIR | {"rejected": " "}],
            "pairs.jsonl:2: the response 1 is ' ': give a text, or remove",
        ),
        (
            "pairs",
            [{"prompt": "Q?", "chosen": "good"}],
            "pairs.jsonl:1: there is no 'rejected': it has prompt, chosen",
        ),
        (
            "pairs",
            [PAIR | {"rejected": "good "}],
            "pairs.jsonl:1: responses 0 and 1 are equal: nobody can prefer one",
        ),
        (
            "pairs",
            [PAIR | {"promt": "x"}],
            "pairs.jsonl:1: the column 'promt' is not known: did you mean prompt?",
        ),
        ("pairs", [PAIR | {"prompt": ""}], "pairs.jsonl:1: the prompt is ''"),
        (
            "pairs",
            [PAIR | {"time": "yesterday"}],
            "pairs.jsonl:1: the time is 'yesterday': write 2026-01-31T12",
        ),
        ("pairs", [], "holds no judgement: give at least one"),
        (
            "choices",
            [{"prompt": "Q?", "responses": ["a", "b"], "choice": 2}],
            "the choice is 2: it must be 0, 1, tie",
        ),
        (
            "choices",
            [{"prompt": "Q?", "responses": ["a", "b"], "choice": True}],
            "the choice is True: it must be",
        ),
        ("choices", [{"prompt": "Q?", "responses": ["a", "b", "c"], "choice": "tie"}], "tie of 3 responses"),
        ("choices", [{"prompt": "Q?", "responses": "a", "choice": 0}], "the responses are 'a': give a list"),
        (
            "rankings",
            [{"prompt": "Q?", "responses": ["a", "b", "c"], "ranking": [0, 2, 2]}],
            "rankings.jsonl:1: the ranking [0, 2, 2] is no permutation of the responses: give each of 0 to 2 once",
        ),
        ("rankings", [{"prompt": "Q?", "responses": ["a", "b"], "ranking": [0]}], "is no permutation"),
        ("rankings", [{"prompt": "Q?", "responses": ["a", "b"], "ranking": "01"}], "is no permutation"),
        ("label_studio", [{"id": 1, "text": "x"}], "row 0: there is no 'data': it has id, text"),
        (
            "label_studio",
            [TASK | {"data": {"text1": "a", "text2": "b"}}],
            "row 0, annotation 0: there is no 'prompt': it has text1, text2",
        ),
        (
            "argilla",
            [RECORD | {"responses": {"rating": []}}],
            "there is no question 'preference': it has rating",
        ),
        (
            "potato",
            [LINE | {"instance_id": "9"}],
            "annotations.jsonl:1: the item '9' is not in the file of the items",
        ),
        (
            "potato",
            [LINE | {"labels": {"preference": {"selection": "C"}}}],
            "the selection is 'C': it must be A, B, tie",
        ),
        (
            "arena",
            [VOTE | {"winner": "koala-13b"}],
            "the winner is 'koala-13b': it must be model_a, model_b, tie",
        ),
        ("arena", [VOTE | {"conversation_b": TALK[::-1]}], "has the roles ['assistant', 'user']"),
        (
            "arena",
            [VOTE | {"conversation_a": TALK * 2}],
            "holds no judgement (of 1 rows: a conversation of several turns)",
        ),
    ],
)
def test_a_bad_row_is_one_line(local: Path, form: str, rows: list[Any], message: str) -> None:
    write(local, FILES[form], rows)
    write(local, "items.jsonl", [ITEM])
    with pytest.raises(InputError) as raised:
        read(form)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_path_is_below_data_local() -> None:
    for paths, message in (
        ("../pairs.jsonl", "labellers.mine.paths is '../pairs.jsonl': give it relative to data/local"),
        ("nosuch.jsonl", "labellers.mine.paths: no file matches data/local/nosuch.jsonl: put one there"),
        (".", "labellers.mine.paths is '.', a folder: name its files"),
    ):
        with pytest.raises(InputError, match=message):
            read("pairs", paths=paths)


def test_what_belongs_to_another_form(local: Path) -> None:
    write(local, "pairs.jsonl", [PAIR])
    with pytest.raises(
        InputError, match="columns names ranking: the form pairs has prompt, labeller, time, chosen"
    ):
        read("pairs", columns={"ranking": "order"})
    for changes, message in (
        ({"items": "items.jsonl"}, "items is for potato: remove it"),
        ({"form": "potato"}, "items is missing: name the file of the items"),
        ({"form": "arena", "ignore": ["x"]}, "ignore is for pairs, choices and rankings"),
    ):
        tree = {"kind": "file", "form": "pairs", "paths": "pairs.jsonl", "held_out": 0.1}
        with pytest.raises(ValueError, match=message):
            ComparisonFile.model_validate(tree | changes)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    str.strip
)
ROWS = st.lists(
    st.tuples(
        TEXTS, TEXTS, TEXTS, st.sampled_from([0, 1, None]), st.none() | TEXTS, st.none() | st.datetimes()
    )
    .filter(lambda row: row[1].strip() != row[2].strip() and row[4] != "None")
    .map(lambda row: pairs_of(_judgement(*row), "mine")[0]),
    min_size=1,
    max_size=4,
)


def _judgement(
    prompt: str, one: str, other: str, choice: int | None, labeller: str | None, time: Any
) -> Judgement:
    ranking = [[0, 1]] if choice is None else [choice, 1 - choice]
    # seconds since 1970 are not exact to the microsecond in years far away
    after = time and time.replace(year=1970 + time.year % 100, microsecond=0)
    return judged("x", prompt, [one, other], ranking, labeller=labeller, time=after)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_what_is_exported_comes_back(local: Path, form: str, rows: list[Pair]) -> None:
    table_of(rows)
    for file in local.iterdir():
        file.unlink()
    held = [row for row in rows if FORMS[form].ties or row["choice"] is not None]
    if not held:
        with pytest.raises(InputError, match="can hold none of the"):
            list(export(rows, form, local))
        return
    said = list(export(rows, form, local))
    back = [pairs_of(each, "mine")[0] for each in read(form)]
    if form == "potato":
        held = [row | {"time": None} for row in held]
    if form == "pairs":
        held, back = ([_chosen_first(row) for row in each] for each in (held, back))
    assert back == held
    assert (f"{len(rows) - len(held)} are left out: they are ties, which {form} cannot hold" in said) == (
        len(held) < len(rows)
    )
    assert FORMS[form].lost in said[-1]


def _chosen_first(row: Pair) -> Pair:
    return row | {
        "responses": [row["responses"][row["choice"]], row["responses"][1 - row["choice"]]],
        "choice": 0,
    }


def test_no_order_tells_which_one_was_chosen(local: Path) -> None:
    write(local, "pairs.jsonl", [PAIR | {"prompt": f"question {i}"} for i in range(200)])
    first = sum(pairs_of(each, "mine")[0]["choice"] == 0 for each in read("pairs"))
    assert 70 < first < 130


def test_a_ranking_is_a_pair_of_every_two() -> None:
    found = pairs_of(judged("x", "Q?", ["a", "b", "c"], [2, [0, 1]], labeller="ann"), "mine")
    won = {
        frozenset(row["responses"]): None if row["choice"] is None else row["responses"][row["choice"]]
        for row in found
    }
    assert won == {frozenset("ab"): None, frozenset("ac"): "c", frozenset("bc"): "c"}
    assert {row["labeller"] for row in found} == {"ann"}


def test_an_export_does_not_write_over_a_file_and_says_what_has_no_prompt(tmp_path: Path) -> None:
    rows = [pairs_of(judged("x", "Q?", ["a", "b"], [0, 1]), "mine")[0]]
    without = [row | {"prompt": ""} for row in rows]
    said = list(export([*rows, *without], "choices", tmp_path))
    assert "1 are left out: they have no prompt (rated texts answer none)" in said
    with pytest.raises(InputError, match=r"choices.jsonl: it is there already"):
        list(export(rows, "choices", tmp_path))
    with pytest.raises(InputError, match="--to is label: it must be one of pairs, choices"):
        list(export(rows, "label", tmp_path))


@pytest.mark.parametrize("time", [0, "1970-01-01", "1970-01-01T09:00:00+09:00"])
def test_a_time_is_written_in_one_way(time: Any) -> None:
    assert moment("x", time) == "1970-01-01T00:00:00Z"


def test_what_was_skipped_is_counted(local: Path) -> None:
    write(local, "label_studio.json", [TASK])
    tree = {"kind": "file", "form": "label_studio", "paths": "*.json", "held_out": 0.0}
    found, skipped = imported.judgements("mine", ComparisonFile.model_validate(tree), {})
    assert (len(found), dict(skipped)) == (1, {"nobody chose": 1})
    assert Skipped("x", "nobody chose").reason in skipped
