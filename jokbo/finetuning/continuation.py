"""Fine-tuning to continue texts: the loss counts on the response alone, given its prompt.

Shapes: M sequences (prompts with their responses), N rows that they are packed into, S tokens of a row, T targets
(S - 1), B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jokbo.data.corpus.batches import sample_indices
from jokbo.models.causal import mean_one

if TYPE_CHECKING:
    from jokbo.data.prompts import Prompts
    from jokbo.training.engine import Batch


@dataclass(frozen=True)
class Rows:
    """Sequences packed into rows of one length, where each of them is read by itself."""

    tokens_NS: Tensor  # int64
    targets_NT: Tensor  # bool: whether the loss counts on a token, but for the first
    positions_NT: Tensor  # int64: of each input in its sequence


def packed(prompts: Prompts, targets_MT: Tensor, context: int, padding: int) -> Rows:
    """Return prompts and responses in rows of context + 1 tokens, packed by best fit, the longest first.

    `targets_MT` is true where the loss counts on a sequence's token, but for the first. No sequence is cut: a row has
    room for the longest.
    """
    begins, sizes = prompts.begins_N.tolist(), (prompts.ends_N - prompts.begins_N).tolist()
    length = max(context + 1, *sizes)
    rows: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(length + 1)]
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        room = next((room for room in range(sizes[index], length) if by_room[room]), length)
        if room == length:
            rows.append([])
        row = by_room[room].pop() if room < length else len(rows) - 1
        rows[row].append(index)
        by_room[room - sizes[index]].append(row)
    tokens_NS = torch.full((len(rows), length), padding)
    targets_NS, positions_NS = torch.zeros_like(tokens_NS, dtype=torch.bool), torch.zeros_like(tokens_NS)
    for row, indices in enumerate(rows):
        start = 0
        for index in indices:
            end, begin = start + sizes[index], begins[index]
            tokens_NS[row, start:end] = prompts.tokens_NS[index, begin : begin + sizes[index]]
            targets_NS[row, start + 1 : end] = targets_MT[index, begin : begin + sizes[index] - 1]
            positions_NS[row, start:end] = torch.arange(sizes[index])
            start = end
        positions_NS[row, start:] = torch.arange(length - start)  # padding reads itself alone
    return Rows(tokens_NS, targets_NS[:, 1:], positions_NS[:, :-1])


def batches(rows: Rows, batch_size: int, seed: int) -> Callable[[int], Batch]:
    """Return the batch of each step, as `NextTokenWhere` takes it: so many rows."""

    def batch_at(step: int) -> Batch:
        count = len(rows.tokens_NS)
        indices_B = torch.from_numpy(
            sample_indices(step, batch_size, count, seed, "continuations of reviews")
        )
        return {
            "tokens_BS": rows.tokens_NS[indices_B],
            "weights_BT": mean_one(rows.targets_NT[indices_B]),
            "positions_BT": rows.positions_NT[indices_B],
        }

    return batch_at
