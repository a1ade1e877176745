"""The kind `conversation` of `prompts.kind`: what stands before the last answer of a conversation is the prompt.

The policy learns all answers of a conversation. Where that is longer than the settings allow, its oldest turns are left
out, never the system prompt, the last question or the last answer; if these are too long, the conversation is.

Own prompts, a file, stand in the place of those of the split `prompts`, apart from the documents
(jokbo.data.conversations.apart).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jokbo.data.conversations import apart
from jokbo.data.conversations import turns as turns_
from jokbo.data.conversations.chat import Chat, LeftOut
from jokbo.data.conversations.own import LOCAL, own_prompts
from jokbo.data.conversations.turns import Turns
from jokbo.data.prompts import Row, Selection
from jokbo.data.selection import check_sources
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedTokenizerBase

    from jokbo.params import ConversationPrompts, Prepare

OWN = "prompts"  # the split whose prompts a file of own ones replaces


@dataclass(frozen=True)
class Conversations:
    """The kind `conversation`."""

    tokenizer: PreTrainedTokenizerBase
    documents: DatasetDict
    settings: ConversationPrompts
    prepare: Prepare  # how documents were kept apart
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
            documents = {str(split): rows for split, rows in self.documents.items()}
            reasons = apart.why_not(everything, documents, self.prepare)
            left_out.update(reason for reason in reasons if reason)
            asked = [turns for turns, reason in zip(everything, reasons, strict=True) if not reason]
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
