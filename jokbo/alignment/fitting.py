"""The training of one reward model on preference pairs, as the section `reward` of params.yaml has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment import elements, reward
from jokbo.alignment.labels import labels_of
from jokbo.training import engine, memory

if TYPE_CHECKING:
    from jokbo.data.tables import Row
    from jokbo.params import Reward
    from jokbo.training.job import Job


def fit(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Row],
    settings: Reward,
    job: Job,
) -> list[dict[str, float]]:
    """Train a reward model in place; return the row of metrics of each step. The job's seed orders the pairs.

    Raises as engine.train does, and InputError if the pairs do not fill one batch, or the training the memory.
    """
    labels, size = labels_of(pairs, settings.labels), settings.training.batch_size
    if settings.batch_of == "prompts":
        objective: nn.Module = elements.CompareAll(network)
        batch_at = elements.batches(
            elements.encode(tokenizer, pairs, labels, settings.context), size, job.seed
        )
    else:
        objective = reward.Compare(network)
        sides = reward.encode(tokenizer, pairs, settings.context)
        batch_at = reward.batches(sides, labels, network, size, job.seed)
    memory.check(objective, batch_at, settings.training, job)
    return engine.train(objective, batch_at, settings.training, job)
