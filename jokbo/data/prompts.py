"""Prompts, each with the response that a person gave: the table that one stage writes and others read.

What a prompt is, is the answer to one question, `prompts.kind`. Each kind is a `Kind` in a file of its own:
jokbo.data.continuations and jokbo.data.conversations.prompting. The stage `prompts` makes them once (`Kind.selected`,
`save`); the stages after it read them (`Prompts.open`). Shorter prompts are padded on the left, so that all responses
begin in one column.

Shape letters: N prompts, P tokens of the longest prompt, R tokens of a response at most, S = P + R, T = S - 1 targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from jokbo.data.tables import open_table, write_shards
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import Saved

if TYPE_CHECKING:
    from datasets import Dataset

SHAPE = "shape.json"  # beside the splits: lengths and padding, which are the same in all of them
TEMPLATE = (
    "chat_template.jinja"  # beside them, if prompts are of conversations: how models are asked from here on
)


@dataclass(frozen=True)
class Row:
    """One sequence of a split."""

    tokens: list[int]  # prompt, response and end of text
    text: int  # index of its text in the split
    sentence_rank: int  # among the sentences of its text, in the order in which they were chosen
    prompt_tokens: int | None = None  # None: as many as of any other
    learned: list[bool] | None = None  # the tokens that the policy learns; None: the response


@dataclass(frozen=True)
class Selection:
    """The sequences of one split. Of each text there are the first prompts_per_text of an order of chance."""

    rows: list[Row]
    orders: list[np.ndarray]  # orders[k - 1]: indices of the rows of rank below k, shuffled
    texts: int
    left_out: Mapping[str, int] = field(default_factory=dict)  # texts without a prompt, by reason
    shortened: int = 0  # sequences whose oldest turns were left out

    def without(self, prompts_per_text: int) -> int:
        """Return how many texts give no prompt if each gives at most so many."""
        return self.texts - len({row.text for row in self.rows if row.sentence_rank < prompts_per_text})


class Kind(Protocol):
    """What is asked: an answer to `prompts.kind`."""

    @property
    def template(self) -> str | None: ...  # by which models are asked from here on

    @property
    def why_none(self) -> str: ...  # why a text gives no prompt

    def selected(self, split: str) -> Selection: ...


def save(selection: Selection, path: Path) -> None:
    """Write one split as a table that `load_from_disk` opens.

    Columns: `tokens` (prompt, response and end of text); `text`, the index of its text; `sentence_rank`, as in Row;
    where prompts differ in length also `prompt_tokens` and `learned`; and `index_K`, its index in the order of those of
    at most K sentences a text, null if it is not one.
    """
    indices = {}
    for most, order in enumerate(selection.orders, start=1):
        index: list[int | None] = [None] * len(selection.rows)
        for i, row in enumerate(order.tolist()):
            index[row] = i
        indices[f"index_{most}"] = index
    fields = [("tokens", pa.list_(pa.int32())), ("text", pa.int64()), ("sentence_rank", pa.int64())]
    differ = any(row.learned for row in selection.rows)
    fields += [("prompt_tokens", pa.int64()), ("learned", pa.list_(pa.bool_()))] if differ else []
    schema = pa.schema([*fields, *((name, pa.int64()) for name in indices)])

    def rows() -> Iterator[dict[str, Any]]:
        for i, row in enumerate(selection.rows):
            columns = {name: getattr(row, name) for name, _ in fields}
            yield columns | {name: index[i] for name, index in indices.items()}

    write_shards(rows(), path, schema)


@dataclass(frozen=True)
class Shape(Saved):
    """What all splits of a folder share."""

    STAGE = "prompts"
    prompt_tokens: int  # of each; of conversations at most
    response_tokens: int  # at most
    padding: int  # the token


@dataclass(frozen=True)
class Prompts:
    """N sequences of up to P prompt tokens and up to R response tokens, the end of text among them.

    They are padded to P + R, on the left before the prompt and on the right after the response.
    """

    tokens_NS: Tensor  # int64 [N, P + R]
    lengths_N: Tensor  # int64 [N]: tokens of the response, at least 2; 0 of a prompt that stands alone
    prompt_tokens: int  # P
    padded_N: Tensor | None = None  # int64 [N]: padding before the prompt; None: no prompt has any
    learned_NT: Tensor | None = None  # bool [N, T]: targets that the policy learns; None: the response

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
        chosen = [row for _, row in ordered[:limit]]
        if "learned" in table.column_names:
            return cls._of_unequal(table.select(chosen), shape)
        every = table["tokens"]
        rows = [every[row] for row in chosen]
        length = shape.prompt_tokens + shape.response_tokens
        padded = [row + [shape.padding] * (length - len(row)) for row in rows]
        lengths = [len(row) - shape.prompt_tokens for row in rows]
        return cls(torch.tensor(padded), torch.tensor(lengths), shape.prompt_tokens)

    @classmethod
    def _of_unequal(cls, rows: Dataset, shape: Shape) -> Prompts:
        """Return the rows of a table whose prompts differ in length, as wide as the longest of them."""
        sizes_N = torch.tensor(list(rows["prompt_tokens"]))
        wide = int(sizes_N.max())
        tokens_NS = torch.full((len(rows), wide + shape.response_tokens), shape.padding)
        learned_NS, padded_N = torch.zeros_like(tokens_NS, dtype=torch.bool), wide - sizes_N
        for i, (tokens, learned) in enumerate(zip(rows["tokens"], rows["learned"], strict=True)):
            begin = int(padded_N[i])
            tokens_NS[i, begin : begin + len(tokens)] = torch.tensor(tokens)
            learned_NS[i, begin : begin + len(tokens)] = torch.tensor(learned)
        lengths_N = torch.tensor([len(tokens) for tokens in rows["tokens"]]) - sizes_N
        return cls(tokens_NS, lengths_N, wide, padded_N, learned_NS[:, 1:])

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
    def begins_N(self) -> Tensor:
        """Return the column in which each prompt begins: int64 [N]."""
        return torch.zeros_like(self.lengths_N) if self.padded_N is None else self.padded_N

    @property
    def ends_N(self) -> Tensor:
        """Return the column after each response: int64 [N]."""
        return self.prompt_tokens + self.lengths_N

    @property
    def real_NT(self) -> Tensor:
        """Return which targets (tokens but the first of a sequence) are no padding: bool [N, T]."""
        return (self._positions_T < self.ends_N[:, None]) & (self._positions_T > self.begins_N[:, None])

    @property
    def targets_NT(self) -> Tensor:
        """Return which targets the policy learns: the response, or all that the assistant says: bool [N, T]."""
        return self.mask_NT if self.learned_NT is None else self.learned_NT

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
