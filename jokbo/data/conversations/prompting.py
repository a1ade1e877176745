"""The kind `conversation` of `prompts.kind`: what stands before the last answer of a conversation is the prompt.

The policy learns all answers of a conversation. Where that is longer than the settings allow, its oldest turns are left
out, never the system prompt, the last question or the last answer; if these are too long, the conversation is.

Own prompts, a file, stand in the place of those of the split `prompts`. None is a question of a training conversation:
they are compared by the normalised text of all their turns but the system prompt.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jokbo.data.conversations import turns as turns_
from jokbo.data.conversations.chat import Chat, LeftOut
from jokbo.data.conversations.turns import ASSISTANT, SYSTEM, USER, Turn, Turns, Unfit
from jokbo.data.prepare.cleaning import normalised
from jokbo.data.prompts import Row, Selection
from jokbo.data.selection import check_sources
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedTokenizerBase

    from jokbo.params import ConversationPrompts

LOCAL = Path("data/local")
OWN = "prompts"  # the split whose prompts a file of own ones replaces
SEEN = "it is asked in a training conversation"
REPEATED = "it repeats another"


@dataclass(frozen=True)
class Conversations:
    """The kind `conversation`."""

    tokenizer: PreTrainedTokenizerBase
    documents: DatasetDict
    settings: ConversationPrompts
    why_none = "none is left out"

    @cached_property
    def chat(self) -> Chat:
        own = self.settings.template
        return Chat.of(self.tokenizer, LOCAL / own if own else None)

    @property
    def template(self) -> str:
        return self.chat.template

    def selected(self, split: str) -> Selection:
        """Return the sequences of a split, in an order that is a function of the seed.

        Raises InputError if none is left, and for a template or a file that cannot be used.
        """
        left_out: Counter[str] = Counter()
        if split == OWN and self.settings.file:
            where = str(LOCAL / self.settings.file)
            everything = list(own_prompts(Path(where)))
            asked = list(self._apart(everything, left_out))
        else:
            where = f"the split {split}, of {', '.join(self.settings.sources)},"
            everything = asked = list(conversations_of(self.documents[split], self.settings.sources))
        rows, shortened = [], 0
        for index, turns in enumerate(asked):
            try:
                found = self.chat.fitted(turns, self.settings.prompt_tokens, self.settings.response_tokens)
            except LeftOut as reason:
                left_out[str(reason)] += 1
                continue
            shortened += found.turns_left_out > 0
            rows.append(Row(found.tokens, index, 0, found.prompt_tokens, found.learned))
        if not rows:
            reasons = ", ".join(f"{count:,} because {why}" for why, count in left_out.most_common())
            raise InputError(f"{where} gives no prompt: {reasons}; raise the limits or give others")
        order = np.random.default_rng(self.settings.seed).permutation(len(rows))
        return Selection(rows, [order], len(everything), left_out, shortened)

    def _apart(self, asked: Iterable[Turns], left_out: Counter[str]) -> Iterator[Turns]:
        """Yield the prompts that no training conversation asks, each once; the others are counted."""
        seen = {
            key_of(turns[:end])
            for turns in conversations_of(self.documents["train"], self.settings.sources)
            for end, turn in enumerate(turns)
            if turn.role == ASSISTANT
        }
        mine: set[str] = set()
        for turns in asked:
            key = key_of(turns)
            if key in seen or key in mine:
                left_out[SEEN if key in seen else REPEATED] += 1
            else:
                mine.add(key)
                yield turns


def key_of(turns: Turns) -> str:
    """Return what two prompts have in common that ask the same."""
    return "\n".join(normalised(turn.content) for turn in turns_.without_system(turns))


def conversations_of(documents: Dataset, sources: list[str]) -> Iterator[Turns]:
    """Yield the conversations of any of the sources, in the data set's order.

    Raises InputError for a source from which there is no document, and for a document that is no conversation.
    """
    check_sources(documents, sources)
    wanted = set(sources)
    for own, rows in zip(documents["sources"], documents["turns"], strict=True):
        if named := wanted.intersection(own):
            if not rows:
                what = f"prompts.sources names {min(named)}, which has a text that is no conversation"
                raise InputError(f"{what}: name its turns in `columns`, or another source")
            yield turns_.turns_of(rows)


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
