"""The answers to the question what a training on preference pairs makes of who chose what: `labels`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jokbo.params.base import Section

Smoothing = Annotated[float, Field(ge=0, lt=0.5)]


class HardLabels(Section):
    kind: Literal["hard"]
    """hard: the preferred response is the better one, and ties are left out; soft: probabilities, a tie is 0.5."""
    smoothing: Smoothing
    """Probability that a choice is taken to be wrong, 0 to 0.5; 0: none."""
    margin: Annotated[float, Field(ge=0)]
    """What the preferred response must lead by where all agree, in raw reward; less where fewer do; 0: none."""


class SoftLabels(Section):
    kind: Literal["soft"]
    """soft: a pair counts by the probability that a judge gave; a choice is 1, a tie 0.5."""
    smoothing: Smoothing
    """Probability that a label is taken to be the wrong way round, 0 to 0.5; 0: none."""


Labels = Annotated[HardLabels | SoftLabels, Field(discriminator="kind")]
HARD = HardLabels(kind="hard", smoothing=0.0, margin=0.0)
