"""What the policy is asked: prompts cut from documents, each with the answer that its author gave.

A prompt is the first tokens of a sentence somewhere in a text; its answer goes on to the last end of a sentence
within reach, and then the end of text. So a policy trained on them ends its answers where people end theirs.

The stage `prompts` cuts them once (`cut`, `save`); the stages after it read them (`Prompts.open`).
Shapes: N prompts, P tokens of a prompt, R of an answer at most, S = P + R, T = S - 1 targets.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from jokbo.data.outputs import write_shards
from jokbo.data.tables import open_table
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from jokbo.params import Prompts as Settings

SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)|\Z")
SHAPE = "shape.json"  # beside the splits: what they have in common


@dataclass(frozen=True)
class Cut:
    """The sequences of one split. Of each text as many sentences are drawn as the settings say, in an order."""

    rows: list[
        dict[str, Any]
    ]  # `tokens`; `text`, its number in the split; `draw`, which sentence drawn of it
    orders: list[np.ndarray]  # orders[k - 1]: rows of the first k draws of each text, shuffled
    texts: int

    def without(self, sentences: int) -> int:
        """Return how many texts gave no sequence in so many draws."""
        return self.texts - len({row["text"] for row in self.rows if row["draw"] < sentences})


def cut(tokenizer: PreTrainedTokenizerBase, texts: list[str], settings: Settings) -> Cut:
    """Return the sequences of the texts: which sentences, and in which order, is a function of the seed.

    Raises InputError if no text has a sentence that is long enough and ends within reach.
    """
    rng = np.random.default_rng(settings.seed)
    starts: list[str] = []
    owners: list[tuple[int, int]] = []  # of each start its text, and which draw of it
    for number, text in enumerate(texts):
        begins = [0, *(match.end() for match in SENTENCE_END.finditer(text) if match.end() < len(text))]
        drawn = rng.permutation(len(begins))[: settings.prompts_per_text].tolist()
        for draw, i in sorted(enumerate(drawn), key=lambda pair: pair[1]):
            starts.append(
                text[begins[i] :].lstrip()[: 12 * (settings.prompt_tokens + settings.response_tokens)]
            )
            owners.append((number, draw))
    encodings = tokenizer(starts, add_special_tokens=False, return_offsets_mapping=True)
    rows = []
    tokens = zip(encodings["input_ids"], encodings["offset_mapping"], strict=True)
    for text, (number, draw), (ids, offsets) in zip(starts, owners, tokens, strict=True):
        ends = {match.end() for match in SENTENCE_END.finditer(text) if match.end() < len(text)}
        reach = range(
            settings.prompt_tokens, min(len(ids), settings.prompt_tokens + settings.response_tokens - 1)
        )
        if (end := max((i for i in reach if offsets[i][1] in ends), default=None)) is not None:
            rows.append({"tokens": [*ids[: end + 1], tokenizer.eos_token_id], "text": number, "draw": draw})
    if not rows:
        raise InputError(
            f"no text holds a sentence that goes on for more than {settings.prompt_tokens} tokens and ends within "
            f"{settings.prompt_tokens + settings.response_tokens}: shorten prompts.prompt_tokens or add longer texts"
        )
    draws = np.array([row["draw"] for row in rows])
    orders = []
    for sentences in range(1, settings.prompts_per_text + 1):
        among = np.flatnonzero(draws < sentences)
        orders.append(among[copy.deepcopy(rng).permutation(len(among))])
    return Cut(rows, orders, len(texts))


def save(found: Cut, path: Path) -> None:
    """Write one split as a table that `load_from_disk` opens.

    A row has its `tokens`, prompt, answer and end of text, and its `text` and `draw`; `place_K` is where it comes among
    those of at most K sentences a text, and null if it is none of them.
    """
    places = {}
    for sentences, order in enumerate(found.orders, start=1):
        place: list[int | None] = [None] * len(found.rows)
        for rank, row in enumerate(order.tolist()):
            place[row] = rank
        places[f"place_{sentences}"] = place
    fields = [("tokens", pa.list_(pa.int32())), ("text", pa.int64()), ("draw", pa.int64())]
    schema = pa.schema([*fields, *((name, pa.int64()) for name in places)])

    def rows() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(found.rows):
            yield row | {name: place[number] for name, place in places.items()}

    write_shards(rows(), path, schema)


def save_shape(settings: Settings, padding: int, path: Path) -> None:
    """Write what all splits in a folder have in common: tokens of a prompt, and of an answer at most; the padding."""
    shape = {
        "prompt_tokens": settings.prompt_tokens,
        "response_tokens": settings.response_tokens,
        "padding": padding,
    }
    (path / SHAPE).write_text(json.dumps(shape, indent=1) + "\n")


@dataclass(frozen=True)
class Prompts:
    """N sequences of P prompt tokens and up to R answer tokens, the end of text among them, padded to P + R."""

    tokens_NS: Tensor  # int64 [N, P + R]
    lengths_N: Tensor  # int64 [N]: answer tokens, at least 2
    prompt_tokens: int

    @classmethod
    def open(cls, path: Path, *, sentences: int = 1, limit: int | None = None) -> Prompts:
        """Return those of a split, at most so many sentences of a text, in the order in which they are to be used.

        `limit`: the first so many. Raises InputError if there is none.
        """
        shape = read_json(path.parent / SHAPE, "run the stage prompts")
        table, name = open_table(path), f"place_{sentences}"
        placed = sorted((place, row) for row, place in enumerate(table[name]) if place is not None)
        if not placed:
            raise InputError(
                f"{path}: no text gives a prompt in {sentences} sentences: raise prompts_per_text"
            )
        every = table["tokens"]
        rows = [every[row] for _, row in placed[:limit]]
        length = shape["prompt_tokens"] + shape["response_tokens"]
        padded = [row + [shape["padding"]] * (length - len(row)) for row in rows]
        lengths = [len(row) - shape["prompt_tokens"] for row in rows]
        return cls(torch.tensor(padded), torch.tensor(lengths), shape["prompt_tokens"])

    def __len__(self) -> int:
        return len(self.tokens_NS)

    @property
    def response_tokens(self) -> int:
        """Return the tokens that an answer may have, its end of text among them."""
        return self.tokens_NS.shape[1] - self.prompt_tokens

    @property
    def prompts_NP(self) -> Tensor:
        return self.tokens_NS[:, : self.prompt_tokens]

    @property
    def real_NT(self) -> Tensor:
        """Bool [N, P + R - 1]: which targets (tokens but the first) are no padding."""
        return self._positions_T < (self.prompt_tokens + self.lengths_N)[:, None]

    @property
    def mask_NT(self) -> Tensor:
        """Bool [N, P + R - 1]: which targets are of the answer, its end of text among them."""
        return self.real_NT & (self._positions_T >= self.prompt_tokens)

    @property
    def ends_NT(self) -> Tensor:
        """Bool [N, P + R - 1]: which targets are the answer's end of text."""
        return self._positions_T == (self.prompt_tokens + self.lengths_N - 1)[:, None]

    @property
    def _positions_T(self) -> Tensor:
        return torch.arange(1, self.tokens_NS.shape[1])
