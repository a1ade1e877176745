"""What every judge is: something that scores the models' responses, given what no stage has learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

    from jokbo.evaluation.evaluation import Trust

GOOD = 0.5  # where scores are probabilities, a response with a higher one is good


@dataclass(frozen=True)
class Given:
    """What there is to judge and to learn from, and how the judge is called. Texts are read if somebody asks."""

    name: str  # in params.yaml
    responses: Mapping[str, list[str]]  # of each model, one to each held-out prompt
    rewards: Mapping[str, np.ndarray]  # of these responses, by the reward model; nothing if there is none
    set_aside: Callable[[], Dataset]  # labelled texts that no stage has read
    test: Callable[[], Dataset]  # texts that no stage has learned from


@dataclass(frozen=True)
class Judged:
    """What a judge says of the responses, and how far it can be believed."""

    about: str  # what it is, in a sentence or two for the report
    scores: Mapping[str, np.ndarray]  # of each model's responses: the higher, the better
    probabilities: bool  # whether a score is the probability that the response is good
    trust: Mapping[str, Mapping[str, Trust]] = field(default_factory=dict)  # as evaluation.JudgeResult has it


class Judge(Protocol):
    """One kind of `evaluate.judges`; `settings` is its class in jokbo.params."""

    def __call__(self, settings: Any, given: Given) -> Judged: ...
