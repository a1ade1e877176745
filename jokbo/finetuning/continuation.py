"""Fine-tuning to continue texts: the loss counts on the response alone, given its prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jokbo.data.corpus.batches import sample_indices
from jokbo.models.causal import training_rows

if TYPE_CHECKING:
    from jokbo.training.engine import Batch


def batches(tokens_NS: Tensor, targets_NT: Tensor, batch_size: int, seed: int) -> Callable[[int], Batch]:
    """Return the batch of each step, of prompts with their responses, as `NextTokenWhere` takes it.

    `targets_NT` is true where a token's successor is a target. Shapes: N sequences of S tokens, T targets (S - 1).
    """

    def batch_at(step: int) -> Batch:
        indices_B = sample_indices(step, batch_size, len(tokens_NS), seed, "continuations of reviews")
        return training_rows(tokens_NS, targets_NT, torch.from_numpy(indices_B))

    return batch_at
