"""Every form becomes the same conversation, and what is none is refused or left out with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jokbo.data.conversations import turns
from jokbo.data.conversations.turns import Turn, Unfit, fit, named, read, text_of, turns_of
from jokbo.runtime.errors import InputError

HERE = "a.jsonl:3"
TALK = (
    Turn("system", "Be brief."),
    Turn("user", "Add the numbers.\n\n2 and 3"),
    Turn("assistant", "5"),
)
MESSAGES = [turn._asdict() for turn in TALK]
SHAREGPT = [
    {"from": who, "value": turn.content} for who, turn in zip(("system", "human", "gpt"), TALK, strict=True)
]
FIELDS = {field: field for field in ("instruction", "input", "output", "system", "prompt", "completion")}


def columns(*fields: str) -> dict[str, str]:
    return {field: field for field in fields}


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        ({"messages": MESSAGES}, ["messages"]),
        ({"messages": json.dumps(MESSAGES)}, ["messages"]),
        ({"conversations": SHAREGPT}, ["conversations"]),
        (
            {
                "instruction": "Add the numbers.",
                "input": "2 and 3",
                "output": "5",
                "system": "Be brief.",
            },
            ["instruction", "input", "output", "system"],
        ),
        (
            {"prompt": "Add the numbers.\n\n2 and 3", "completion": "5", "system": "Be brief."},
            ["prompt", "completion", "system"],
        ),
    ],
)
def test_every_form_gives_the_same_conversation(record: dict[str, Any], fields: list[str]) -> None:
    assert read(record, columns(*fields), HERE) == TALK


def test_other_names_of_columns_and_fields_that_may_be_left_out() -> None:
    talk = (Turn("user", "Why?"), Turn("assistant", "So."))
    assert read({"q": "Why?", "output": "So."}, named({"instruction": "q"}), HERE) == talk
    empty = {"instruction": "Why?", "input": None, "output": "So.", "system": " "}
    assert read(empty, columns(*empty), HERE) == talk
    assert read({"q": "Why?", "a": "So."}, {"prompt": "q", "completion": "a"}, HERE) == talk


def test_a_conversation_comes_back_from_its_row() -> None:
    assert turns_of([turn._asdict() for turn in TALK]) == TALK
    assert text_of(TALK) == "Be brief.\n\nAdd the numbers.\n\n2 and 3\n\n5"


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        (["user", "assistant", "assistant"], turns.OUT_OF_ORDER),
        (["assistant", "user", "assistant"], turns.OUT_OF_ORDER),
        (["user", "system", "assistant"], turns.OUT_OF_ORDER),
        (["user", "user", "assistant"], turns.OUT_OF_ORDER),
        (["user", "assistant", "user"], turns.OUT_OF_ORDER),
        (["user"], turns.NO_ANSWER),
        (["system"], turns.NO_ANSWER),
        ([], turns.NO_ANSWER),
        (["user", "tool", "assistant"], turns.UNKNOWN_ROLE),
        (["User", "assistant"], turns.UNKNOWN_ROLE),
    ],
)
def test_roles_that_make_no_conversation(roles: list[str], reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        fit([Turn(role, "x") for role in roles])


@pytest.mark.parametrize("contents", [("Hi", ""), ("Hi", " \n"), ("", "Hello")])
def test_an_empty_turn(contents: tuple[str, str]) -> None:
    with pytest.raises(Unfit, match=turns.EMPTY_TURN):
        fit([Turn("user", contents[0]), Turn("assistant", contents[1])])


def test_a_question_alone_is_one_if_it_is_asked_for() -> None:
    asked = fit([Turn("human", "Hi"), Turn("gpt", "Hello"), Turn("human", "Why?")], last="user")
    assert [turn.role for turn in asked] == ["user", "assistant", "user"]
    with pytest.raises(Unfit, match=turns.OUT_OF_ORDER):
        fit(asked[:2], last="user")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (7, "holds int, not a list"),
        ("[{", "is no JSON"),
        ('"text"', "holds str, not a list"),
        (["Hi"], "column 'messages': turn 1 has not the keys role and content"),
        ([{"role": "user", "text": "Hi"}], "column 'messages': turn 1 has not the keys"),
        ([{"role": "user", "content": ["Hi"]}], "column 'messages': turn 1 holds list, not text"),
        ([{"role": "user", "content": None}], "holds NoneType, not text"),
        ([{"role": 1, "content": "Hi"}], "holds int, not text"),
    ],
)
def test_a_field_that_is_no_list_of_turns_is_refused_with_its_row(value: Any, words: str) -> None:
    with pytest.raises(InputError) as raised:
        read({"messages": value}, {"messages": "messages"}, HERE)
    assert str(raised.value).startswith(HERE)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_answer_that_is_no_text_is_refused_with_its_row() -> None:
    with pytest.raises(InputError, match=r"a\.jsonl:3: column 'completion' holds int, not text"):
        read({"prompt": "2 + 3", "completion": 5}, columns("prompt", "completion"), HERE)


@pytest.mark.parametrize(
    ("fields", "alien"),
    [
        (["text", "messages"], "text cannot stand beside those of messages"),
        (["messages", "conversations"], "conversations cannot stand beside those of messages"),
        (["prompt", "completion", "input"], "input cannot stand beside those of prompt"),
        (["text", "output"], "output cannot stand beside those of a text"),
        (["messages", "label"], "label cannot stand beside those of messages"),
    ],
)
def test_columns_of_two_forms(fields: list[str], alien: str) -> None:
    assert alien in (turns.fault_in(columns(*fields)) or "")


@pytest.mark.parametrize(
    "fields",
    [["text", "label", "source", "ratings"], ["messages", "source"], ["instruction", "system"], ["prompt"]],
)
def test_columns_of_one_form(fields: list[str]) -> None:
    assert turns.fault_in(columns(*fields)) is None
