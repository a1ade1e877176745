"""The kind `continuation` of `prompts.kind`: beginnings of sentences, each with what its author wrote next.

A prompt is the first tokens of a sentence somewhere in a text. Its response goes on to the last end of a sentence
within reach, and then the end of text. So a policy trained on them ends its responses where people end sentences.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from jokbo.data.prompts import Row, Selection
from jokbo.data.selection import texts_from
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import PreTrainedTokenizerBase

    from jokbo.params import ContinuationPrompts as Settings

CHARACTERS = 12  # of a token at most, nearly always: so many are tokenized for each token that is wanted
SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)|\Z")


@dataclass(frozen=True)
class Continuations:
    """The kind `continuation`: the beginning of a sentence, to be gone on with."""

    tokenizer: PreTrainedTokenizerBase
    documents: DatasetDict
    settings: Settings
    template = None
    why_none = "no sentence that was tried is long enough and ends within reach"

    def selected(self, split: str) -> Selection:
        texts = texts_from(self.documents[split], self.settings.sources)
        return selected(self.tokenizer, texts, self.settings)


def selected(tokenizer: PreTrainedTokenizerBase, texts: list[str], settings: Settings) -> Selection:
    """Return the sequences of the texts. Which sentences, and in which order, is a function of the seed.

    Raises InputError if no text has a sentence that is long enough and ends within reach.
    """
    rng = np.random.default_rng(settings.seed)
    longest, end_of_text = (
        settings.prompt_tokens + settings.response_tokens,
        cast(int, tokenizer.eos_token_id),
    )
    passages: list[tuple[str, int, int]] = []  # from the start of a sentence; its text, and its rank
    for index, text in enumerate(texts):
        begins = [0, *(match.end() for match in SENTENCE_END.finditer(text) if match.end() < len(text))]
        chosen = rng.permutation(len(begins))[: settings.prompts_per_text].tolist()
        for rank, i in sorted(enumerate(chosen), key=lambda pair: pair[1]):
            passages.append((text[begins[i] :].lstrip()[: CHARACTERS * longest], index, rank))
    starts = [passage for passage, _, _ in passages]
    encodings = cast(Any, tokenizer(starts, add_special_tokens=False, return_offsets_mapping=True))
    rows = []
    tokens = zip(encodings["input_ids"], encodings["offset_mapping"], strict=True)
    for (passage, index, rank), (ids, offsets) in zip(passages, tokens, strict=True):
        ends = {match.end() for match in SENTENCE_END.finditer(passage) if match.end() < len(passage)}
        reach = range(settings.prompt_tokens, min(len(ids), longest - 1))
        if (end := max((i for i in reach if offsets[i][1] in ends), default=None)) is not None:
            rows.append(Row([*ids[: end + 1], end_of_text], index, rank))
    if not rows:
        raise InputError(
            f"no text has a sentence that goes on for more than {settings.prompt_tokens} tokens and ends within "
            f"{longest}: lower prompts.prompt_tokens or add longer texts"
        )
    ranks = np.array([row.sentence_rank for row in rows])
    orders = []
    for most in range(1, settings.prompts_per_text + 1):
        among = np.flatnonzero(ranks < most)
        orders.append(among[copy.deepcopy(rng).permutation(len(among))])
    return Selection(rows, orders, len(texts))
