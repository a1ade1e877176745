"""What a model says to what somebody types: it goes on with a text, or answers in a conversation (`jokbo chat`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.data.conversations.chat import LONG_PROMPT, Chat, LeftOut
from jokbo.data.conversations.turns import ASSISTANT, SYSTEM, USER, Turn
from jokbo.models import access


class Unanswered(Exception):
    """A line that the model cannot go on from. Its one argument says why."""


@dataclass(frozen=True)
class Speaker:
    """A language model, and how it is sampled from."""

    tokenizer: PreTrainedTokenizerBase
    network: PreTrainedModel
    temperature: float  # 0: the likeliest token each time
    tokens: int  # the most that it writes at once

    def written(self, prompt: list[int], ends: Iterable[int] = ()) -> str:
        """Return what the model writes after the tokens, up to one of `ends` or the end of text. Unanswered if its
        context has no room for more."""
        room = self.network.config.max_position_embeddings - len(prompt)
        if room < 1:
            raise Unanswered(f"the prompt has {len(prompt)} tokens, no room to add any")
        prompt_BT = torch.tensor([prompt])
        sampling = (
            {"do_sample": True, "temperature": self.temperature} if self.temperature else {"do_sample": False}
        )
        end = access.end_of_text(self.tokenizer)
        text_BT = access.continued(
            self.network,
            prompt_BT,
            attention_mask=torch.ones_like(prompt_BT),
            max_new_tokens=min(self.tokens, room),
            pad_token_id=end,
            eos_token_id=sorted({end, *ends}),
            **sampling,
        )
        return str(self.tokenizer.decode(text_BT[0, len(prompt) :], skip_special_tokens=True))


def continuation(speaker: Speaker, text: str) -> str:
    """Return what the model writes after a text. Unanswered if the text fills its context."""
    return speaker.written(speaker.tokenizer(text)["input_ids"])


class Conversation:
    """A conversation with a model, by its chat template. It keeps what was said."""

    def __init__(self, speaker: Speaker, system: str | None = None) -> None:
        """Begin one. InputError if the template cannot be used."""
        self.speaker, self.chat = speaker, Chat.of(speaker.tokenizer)
        self.turns = (Turn(SYSTEM, system),) if system else ()
        self.ends = list(ends(self.chat))

    def answer(self, question: str) -> str:
        """Return what the model answers. The oldest turns are left out where its context has no room for all.

        Raises Unanswered for a question that spells a special token or is too long; it is not kept then.
        """
        turns = (*self.turns, Turn(USER, question))
        context = self.speaker.network.config.max_position_embeddings
        room = max(1, context - min(self.speaker.tokens, context // 2))
        try:
            prompt = self.chat.fitted(turns, room, 0)
        except LeftOut as reason:
            why = f"it has no room in {room:,} tokens" if str(reason) == LONG_PROMPT else str(reason)
            raise Unanswered(why) from reason
        said = self.speaker.written(prompt.tokens, self.ends).strip()
        self.turns = (*turns, Turn(ASSISTANT, said)) if said else self.turns
        return said


def ends(chat: Chat) -> Iterator[int]:
    """Yield the special tokens with which the template ends an answer."""
    special = set(chat.tokenizer.all_special_ids)
    shown = chat.rendered((Turn(USER, "a"), Turn(ASSISTANT, "b")))
    for token, said in zip(shown.tokens, shown.learned, strict=True):
        if said and token in special:
            yield token
