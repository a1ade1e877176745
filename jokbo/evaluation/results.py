"""What the stages that train language models measured. A stage writes its record to metrics/NAME.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jokbo.runtime.files import Saved


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts held-out text: its language, and where it ends, which is no language."""

    perplexity: float  # of tokens other than the end of text
    end_nats: float | None  # of an end of text; None if the text has none


@dataclass(frozen=True)
class CorpusPerplexity(Perplexity):
    nats_per_token: float
    bits_per_byte: float


@dataclass(frozen=True)
class Pretraining(Saved):
    """The base model."""

    STAGE = "pretrain"
    parameters: int
    parameters_without_embeddings: int
    tokens: int  # that it was trained on, each time that it was read
    packing: Mapping[
        str, Any
    ]  # `used`, and of each kind what share of the batches is filled and of the corpus kept
    validation: CorpusPerplexity


@dataclass(frozen=True)
class PolicyTuning:
    """Of the supervised policy: perplexity of people's responses before and after."""

    sequences: int
    before: Perplexity
    after: Perplexity


@dataclass(frozen=True)
class Finetuning(Saved):
    """The supervised policy."""

    STAGE = "finetune"
    policy: PolicyTuning


@dataclass(frozen=True)
class Distillation(Saved):
    """Both networks of a distillation on people's responses."""

    STAGE = "distill"
    parameters: int  # of the student
    teacher: Perplexity
    student: Perplexity
