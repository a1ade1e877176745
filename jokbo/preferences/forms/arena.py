"""Votes of Chatbot Arena: as in lmsys/chatbot_arena_conversations (2023), and in arena-human-preference-140k (2025).

A row has `conversation_a` and `conversation_b` (lists of `{role, content}`), `winner` (model_a, model_b, tie, and for
two bad answers `tie (bothbad)`, later both_bad), `judge` and `tstamp` (seconds since 1970), later `timestamp`. The two
models answer in conversations of their own; so longer ones have no common prompt, and they are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from jokbo.preferences.forms.form import Columns, Files, Form, Record, lines, one_of, required
from jokbo.preferences.judgement import TIE, Judgement, Skipped, judged, seen
from jokbo.preferences.pairs import Pair
from jokbo.runtime.errors import InputError

WINNERS = {"model_a": [0, 1], "model_b": [1, 0], "tie": TIE, "tie (bothbad)": TIE, "both_bad": TIE}


def read(
    records: Iterable[Record], columns: Columns, items: Sequence[Record]
) -> Iterator[Judgement | Skipped]:
    """Yield a judgement a row; rows with conversations of several turns are skipped."""
    for location, record in records:
        winner, *talks = required(location, record, "winner", "conversation_a", "conversation_b")
        ranking = one_of(location, "the winner", winner, WINNERS)
        turns = [
            _turns(f"{location}: conversation_{side}", talk) for side, talk in zip("ab", talks, strict=True)
        ]
        if any(len(each) != 2 for each in turns):
            yield Skipped(location, "a conversation of several turns")
            continue
        (prompt, answer_a), (other_prompt, answer_b) = turns
        if prompt != other_prompt:
            raise InputError(
                f"{location}: the two conversations begin with different prompts: remove the row"
            )
        time = record.get("tstamp", record.get("timestamp"))
        yield judged(location, prompt, [answer_a, answer_b], ranking, labeller=record.get("judge"), time=time)


def _turns(location: str, talk: Any) -> list[str]:
    """Return the texts of a conversation: user's and assistant's by turns."""
    if not isinstance(talk, list) or not all(
        isinstance(turn, Mapping) and "content" in turn for turn in talk
    ):
        raise InputError(f"{location} is {seen(talk)}: give a list of turns with role and content")
    roles = [turn.get("role") for turn in talk]
    if roles != ["user", "assistant"] * (len(talk) // 2):
        raise InputError(f"{location} has the roles {seen(roles)}: user and assistant must take turns")
    return [_text(turn["content"]) for turn in talk]


def _text(content: Any) -> Any:
    """Return the text of a turn; since 2025 it is a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, Mapping))
    return content


def write(rows: Sequence[Pair]) -> Files:
    votes = []
    for number, row in enumerate(rows, 1):
        talks = [
            [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": response}]
            for response in row["responses"]
        ]
        votes.append(
            {
                "question_id": str(number),
                "model_a": "a",
                "model_b": "b",
                "winner": "tie" if row["choice"] is None else ("model_a", "model_b")[row["choice"]],
                "judge": row["labeller"],
                "conversation_a": talks[0],
                "conversation_b": talks[1],
                "turn": 1,
                "tstamp": None if row["time"] is None else datetime.fromisoformat(row["time"]).timestamp(),
            }
        )
    return {"arena.jsonl": lines(votes)}


FORM = Form({}, read, write)
