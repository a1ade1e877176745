"""Own prompts: a file of questions for preferences and PPO, below data/local; and by what questions are compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jokbo.data.conversations import turns as turns_
from jokbo.data.conversations.turns import ASSISTANT, SYSTEM, USER, Turn, Turns, Unfit, without_system
from jokbo.data.keys import normalised
from jokbo.runtime.errors import InputError

LOCAL = Path("data/local")  # the folder whose changes DVC sees


def own_prompts(file: Path) -> Iterator[Turns]:
    """Yield the prompts of a file: of txt a question a line; of jsonl an object with `prompt`, and `system` if there is
    one, or with `messages` or `conversations` that end with a user's turn.

    Raises InputError for a file that cannot be read, and for the first line that is no prompt.
    """
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"prompts.file: {file} cannot be read ({error}): put a UTF-8 file there") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        location = f"{file}:{number}"
        record = {"prompt": line.strip()} if file.suffix == ".txt" else _object(line, location)
        try:
            yield turns_.fit(_asked(record, location), last=USER)
        except Unfit as unfit:
            raise InputError(f"{location} is one {unfit}: write turns that end with the user's") from unfit


def key_of(turns: Turns) -> str:
    """Return what two prompts have in common that ask the same."""
    return "\n".join(normalised(turn.content) for turn in without_system(turns))


def asked_in(turns: Turns) -> Iterator[Turns]:
    """Yield each prompt that a conversation answers."""
    return (turns[:end] for end, turn in enumerate(turns) if turn.role == ASSISTANT)


def _asked(record: dict[str, Any], location: str) -> list[Turn]:
    form = turns_.form_of(record)
    if form in turns_.LISTS:
        return turns_.listed(record[form], form, location)
    if form != "prompt":
        raise InputError(f"{location} has none of prompt, messages and conversations: write one of them")
    return [
        Turn(role, turns_.plain(record.get(field), field, location))
        for role, field in ((SYSTEM, "system"), (USER, "prompt"))
    ]


def _object(line: str, location: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{location} is not JSON: {error}; correct or remove the line") from error
    if not isinstance(record, dict):
        raise InputError(f"{location} holds {type(record).__name__}, not an object: write {{...}} a line")
    return record
