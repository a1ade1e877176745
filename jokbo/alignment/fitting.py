"""The training of one reward model on preference pairs, as the section `reward` of params.yaml has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment import elements, reward
from jokbo.alignment.held_out import Parts, check_fills, parts_of
from jokbo.alignment.labels import Labels, labels_of
from jokbo.training import engine, memory

if TYPE_CHECKING:
    from jokbo.data.tables import Row
    from jokbo.params import Reward
    from jokbo.training.job import Job

KEY = "reward.training"  # in params.yaml


@dataclass(frozen=True)
class Pairs:
    """Preference pairs as every member reads them."""

    rows: Sequence[Row]
    sides: tuple[Tensor, Tensor]  # preferred and rejected sequences, [N, context] each
    labels: Labels
    parts: Parts


def read(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], settings: Reward) -> Pairs:
    """Return the pairs as a training by these settings reads them."""
    sides = reward.encode(tokenizer, rows, settings.context)
    parts = parts_of(rows, settings.training.keep, settings.seed, KEY)
    return Pairs(rows, sides, labels_of(rows, settings.labels), parts)


def fit(network: PreTrainedModel, pairs: Pairs, settings: Reward, job: Job) -> list[dict[str, float]]:
    """Train a reward model in place; return the row of metrics of each step. The job's seed orders the pairs.

    Raises as engine.train does, and InputError if the pairs of a part do not fill one batch, or the training the
    memory.
    """
    by_prompts = settings.batch_of == "prompts"
    objective: nn.Module = elements.CompareAll(network) if by_prompts else reward.Compare(network)
    batch_at, _ = _batches(network, pairs, pairs.parts.train, settings, job.seed)
    own = engine.Overrides()
    if settings.training.keep.kind == "best":
        validation, count = _batches(network, pairs, pairs.parts.validation, settings, job.seed)
        check_fills(count, settings.batch_of, settings.training.batch_size, KEY)
        own = engine.Overrides(validation=lambda: validation)
    memory.check(objective, batch_at, settings.training, job)
    return engine.train(objective, batch_at, settings.training, job, own)


def _batches(
    network: PreTrainedModel, pairs: Pairs, numbers: list[int], settings: Reward, seed: int
) -> tuple[Callable[[int], engine.Batch], int]:
    """Return the batch of each step, of the pairs of these numbers, and how many pairs, or prompts, there are."""
    preferred_NS, rejected_NS = pairs.sides
    sides, labels = (preferred_NS[numbers], rejected_NS[numbers]), pairs.labels.of(numbers)
    size = settings.training.batch_size
    if settings.batch_of == "prompts":
        rows = [pairs.rows[number] for number in numbers]
        found = elements.of_pairs(rows, sides, labels, network)
        return elements.batches(found, size, seed), len(found)
    return reward.batches(sides, labels, network, size, seed), len(numbers)
