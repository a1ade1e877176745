"""Prompts taken from documents, each with the response that its author gave.

A prompt is the first tokens of a sentence somewhere in a text. Its response goes on to the last end of a sentence
within reach, and then the end of text. So a policy trained on them ends its responses where people end sentences.

The stage `prompts` makes them once (`selected`, `save`); the stages after it read them (`Prompts.open`).
Shape letters: N prompts, P tokens of a prompt, R tokens of a response at most, S = P + R, T = S - 1 targets.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from jokbo.data.outputs import write_shards
from jokbo.data.tables import open_table
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import Saved

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from jokbo.params import Prompts as Settings

CHARACTERS = 12  # of a token at most, nearly always: so many are tokenized for each token that is wanted
SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)|\Z")
SHAPE = "shape.json"  # beside the splits: lengths and padding, which are the same in all of them


@dataclass(frozen=True)
class Row:
    """One sequence of a split."""

    tokens: list[int]  # prompt, response and end of text
    text: int  # index of its text in the split
    sentence_rank: int  # among the sentences of its text, in the order in which they were chosen


@dataclass(frozen=True)
class Selection:
    """The sequences of one split. Each text gives the first prompts_per_text sentences of an order of chance."""

    rows: list[Row]
    orders: list[np.ndarray]  # orders[k - 1]: indices of the rows of rank below k, shuffled
    texts: int

    def without(self, prompts_per_text: int) -> int:
        """Return how many texts give no prompt if each gives at most so many."""
        return self.texts - len({row.text for row in self.rows if row.sentence_rank < prompts_per_text})


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


def save(selection: Selection, path: Path) -> None:
    """Write one split as a table that `load_from_disk` opens.

    Columns: `tokens` (prompt, response and end of text); `text`, the index of its text; `sentence_rank`, as
    in Row; and `index_K`, its index in the order of those of at most K sentences a text, null if it is not one.
    """
    indices = {}
    for most, order in enumerate(selection.orders, start=1):
        index: list[int | None] = [None] * len(selection.rows)
        for i, row in enumerate(order.tolist()):
            index[row] = i
        indices[f"index_{most}"] = index
    fields = [("tokens", pa.list_(pa.int32())), ("text", pa.int64()), ("sentence_rank", pa.int64())]
    schema = pa.schema([*fields, *((name, pa.int64()) for name in indices)])

    def rows() -> Iterator[dict[str, Any]]:
        for i, row in enumerate(selection.rows):
            columns = {"tokens": row.tokens, "text": row.text, "sentence_rank": row.sentence_rank}
            yield columns | {name: index[i] for name, index in indices.items()}

    write_shards(rows(), path, schema)


@dataclass(frozen=True)
class Shape(Saved):
    """What all splits of a folder share."""

    STAGE = "prompts"
    prompt_tokens: int  # of each
    response_tokens: int  # at most
    padding: int  # the token


@dataclass(frozen=True)
class Prompts:
    """N sequences of P prompt tokens and up to R response tokens, the end of text among them, padded to P + R."""

    tokens_NS: Tensor  # int64 [N, P + R]
    lengths_N: Tensor  # int64 [N]: tokens of the response, at least 2
    prompt_tokens: int

    @classmethod
    def open(cls, path: Path, *, prompts_per_text: int = 1, limit: int | None = None) -> Prompts:
        """Return the prompts of a split, at most so many of a text, in the order in which they are to be used.

        limit: only the first so many. Raises InputError if there is none.
        """
        shape = Shape.load(path.parent / SHAPE)
        table, column = open_table(path), f"index_{prompts_per_text}"
        ordered = sorted((index, row) for row, index in enumerate(table[column]) if index is not None)
        if not ordered:
            tried = f"the first {prompts_per_text} sentences of each text that were tried"
            raise InputError(f"{path}: no prompt is among {tried}: raise prompts_per_text")
        every = table["tokens"]
        rows = [every[row] for _, row in ordered[:limit]]
        length = shape.prompt_tokens + shape.response_tokens
        padded = [row + [shape.padding] * (length - len(row)) for row in rows]
        lengths = [len(row) - shape.prompt_tokens for row in rows]
        return cls(torch.tensor(padded), torch.tensor(lengths), shape.prompt_tokens)

    def __len__(self) -> int:
        return len(self.tokens_NS)

    @property
    def response_tokens(self) -> int:
        """Return the most tokens of a response, its end of text among them."""
        return self.tokens_NS.shape[1] - self.prompt_tokens

    @property
    def prompts_NP(self) -> Tensor:
        """Return the prompts alone: int64 [N, P]."""
        return self.tokens_NS[:, : self.prompt_tokens]

    @property
    def real_NT(self) -> Tensor:
        """Return which targets (tokens but the first) are no padding: bool [N, T]."""
        return self._positions_T < (self.prompt_tokens + self.lengths_N)[:, None]

    @property
    def mask_NT(self) -> Tensor:
        """Return which targets are of the response, its end of text among them: bool [N, T]."""
        return self.real_NT & (self._positions_T >= self.prompt_tokens)

    @property
    def ends_NT(self) -> Tensor:
        """Return which targets are the response's end of text: bool [N, T]."""
        return self._positions_T == (self.prompt_tokens + self.lengths_N - 1)[:, None]

    @property
    def _positions_T(self) -> Tensor:
        return torch.arange(1, self.tokens_NS.shape[1])
