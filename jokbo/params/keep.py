"""The answers to the question which weights a training ends with: `keep`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jokbo.params.base import Positive, Section


class KeepLast(Section):
    kind: Literal["last"]
    """last: the weights after the last step."""


class KeepBest(Section):
    kind: Literal["best"]
    """best: the weights whose loss on validation batches was lowest, of those after every so many steps."""
    every: Positive
    """Number of steps from one measurement to the next; the last step is always measured."""
    batches: Positive
    """Number of validation batches, each of batch_size sequences."""


class KeepBestOfPairs(KeepBest):
    held_out: Annotated[float, Field(gt=0, lt=1)]
    """Share of the prompts, or of texts without one, whose pairs are for validation alone, above 0, below 1."""


Keep = Annotated[KeepLast | KeepBest, Field(discriminator="kind")]
KeepOfPairs = Annotated[KeepLast | KeepBestOfPairs, Field(discriminator="kind")]
LAST = KeepLast(kind="last")
