"""Conversations: turns of a system, a user and an assistant, read from the forms in which people have them.

The fields that `columns` of a source names tell the form:

    messages                             a list of {role, content}
    conversations                        ShareGPT: a list of {from, value}
    instruction, input, output, system   Alpaca; input and system may be left out
    prompt, completion, system           system may be left out

In csv, where a field is text, a list is written as JSON. A turn without text says nothing: as a system prompt it is
passed over, elsewhere it makes the conversation unfit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from jokbo.runtime.errors import InputError

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = {"human": USER, "gpt": ASSISTANT, **{role: role for role in (SYSTEM, USER, ASSISTANT)}}
LISTS = {"messages": ("role", "content"), "conversations": ("from", "value")}  # form -> keys of a turn
ANSWERS = {"instruction": "output", "prompt": "completion"}  # form, the question's field -> the answer's
MORE = {"instruction": ("input", "system"), "prompt": ("system",)}  # form -> fields that may be left out
FORMS = (*LISTS, *ANSWERS)

# why a conversation is left out
UNKNOWN_ROLE = "with an unknown role"
EMPTY_TURN = "with an empty turn"
NO_ANSWER = "without an assistant turn"
OUT_OF_ORDER = "with roles out of order"
REASONS = (UNKNOWN_ROLE, EMPTY_TURN, NO_ANSWER, OUT_OF_ORDER)


class Unfit(Exception):
    """A conversation that nothing can be learned from. It is left out; its one argument is among REASONS."""


class Turn(NamedTuple):
    role: str  # SYSTEM, USER or ASSISTANT
    content: str


Turns = tuple[Turn, ...]  # a conversation
SCHEMA = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))  # of its column on disk


def turns_of(rows: Iterable[Mapping[str, str]]) -> Turns:
    """Return the conversation of a row of a table on disk."""
    return tuple(Turn(row["role"], row["content"]) for row in rows)


def text_of(turns: Iterable[Turn]) -> str:
    """Return the text by which conversations are compared, and which a base model reads: turns, a blank line between
    any two."""
    return "\n\n".join(turn.content for turn in turns)


def form_of(fields: Iterable[str]) -> str | None:
    """Return the form of conversations that has these fields; None if they are a text's."""
    return next((form for form in FORMS if form in fields), None)


def named(columns: Mapping[Any, str]) -> dict[str, str]:
    """Return the columns of a source with its form's answer among them, under its own name if no other was given."""
    form = form_of(columns)
    return {answer: answer, **columns} if (answer := ANSWERS.get(form or "")) else dict(columns)


def fault_in(columns: Mapping[str, object]) -> str | None:
    """Return what is wrong with the columns that a source names; None if they are those of texts or of one form."""
    form = form_of(columns)
    own = {form, ANSWERS.get(form or ""), *MORE.get(form or "", ()), "source"}
    if not form:
        own = {"text", "others", "label", "source", "ratings"}
    what = f"those of {form}" if form else "those of a text"
    alien = sorted(set(columns) - own)
    return f"{', '.join(alien)} cannot stand beside {what}: name the columns of one form" if alien else None


def read(record: Mapping[str, Any], columns: Mapping[str, str], location: str) -> Turns:
    """Return the conversation of a record. `columns` are `named`.

    Raises InputError for a field that holds something else than its form says, and Unfit for turns that are no
    conversation.
    """
    form = form_of(columns)
    assert form
    if form in LISTS:
        return fit(listed(record[columns[form]], form, f"{location}: column {columns[form]!r}"))
    question, answer, given, system = (
        plain(record[columns[field]], columns[field], location) if field in columns else ""
        for field in (form, ANSWERS[form], "input", "system")
    )
    asked = f"{question}\n\n{given}" if given.strip() else question
    return fit([Turn(SYSTEM, system), Turn(USER, asked), Turn(ASSISTANT, answer)])


def fit(turns: Iterable[Turn], *, last: str = ASSISTANT) -> Turns:
    """Return the turns as a conversation: a system prompt or none, then user and assistant by turns, up to a `last`
    one.

    Raises Unfit for anything else.
    """
    found = tuple(turns)
    if any(turn.role not in ROLES for turn in found):
        raise Unfit(UNKNOWN_ROLE)
    found = tuple(Turn(ROLES[turn.role], turn.content) for turn in found)
    if found and found[0].role == SYSTEM and not found[0].content.strip():
        found = found[1:]
    if any(not turn.content.strip() for turn in found):
        raise Unfit(EMPTY_TURN)
    spoken = [turn.role for turn in without_system(found)]
    if last == ASSISTANT and ASSISTANT not in spoken:
        raise Unfit(NO_ANSWER)
    wanted = [USER, ASSISTANT] * len(spoken)
    if not spoken or spoken != wanted[: len(spoken)] or spoken[-1] != last:
        raise Unfit(OUT_OF_ORDER)
    return found


def without_system(turns: Sequence[Turn]) -> Turns:
    """Return the turns after the system prompt, if there is one."""
    return tuple(turns[1:] if turns and turns[0].role == SYSTEM else turns)


def listed(value: Any, form: str, location: str) -> list[Turn]:
    """Return the turns of a list of objects, or of JSON that is one; `form` is among LISTS.

    Raises InputError if it is none.
    """
    keys = LISTS[form]
    wanted = "a list of {" + ", ".join(keys) + "}"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{location} is no JSON ({error}): write {wanted}") from error
    if not isinstance(value, list):
        raise InputError(f"{location} holds {type(value).__name__}, not {wanted}: correct it")
    turns = []
    for number, turn in enumerate(value, start=1):
        if not isinstance(turn, dict) or not set(keys) <= set(turn):
            raise InputError(
                f"{location}: turn {number} has not the keys {' and '.join(keys)}: write {wanted}"
            )
        role, content = turn[keys[0]], turn[keys[1]]
        if not isinstance(role, str) or not isinstance(content, str):
            held = type(content if isinstance(role, str) else role).__name__
            raise InputError(f"{location}: turn {number} holds {held}, not text: correct or remove the row")
        turns.append(Turn(role, content))
    return turns


def plain(value: Any, column: str, location: str) -> str:
    """Return a field of text; one that holds nothing is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        held = type(value).__name__
        raise InputError(f"{location}: column {column!r} holds {held}, not text: correct or remove the row")
    return value
