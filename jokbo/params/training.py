"""What every training section of params.yaml has: steps, batches, optimizer, method, and which weights are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jokbo.params.base import Betas, NonNegative, Positive, Precision, Rate, Section, Share
from jokbo.params.keep import LAST, Keep, KeepOfPairs
from jokbo.params.method import FULL, Full, Method


class Optimizer(Section):
    name: Literal["adamw", "muon"]
    """adamw, or muon: Muon for hidden matrices, AdamW for the rest."""
    learning_rate: Rate
    """Highest learning rate; with muon, that of the hidden matrices."""
    adam_learning_rate: Rate
    """Highest learning rate of what AdamW trains beside Muon; not read with adamw."""
    betas: Betas
    """AdamW's decay rates of the first and the second moment, 0 to 1."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay of a step, to be multiplied by the learning rate."""

    def check_clip(self, gradient_clip: float) -> None:
        """Refuse clipping with Muon: under ZeRO it would clip the orthogonalised update, whose size must stay."""
        if self.name == "muon" and gradient_clip:
            raise ValueError(
                f"gradient_clip is {gradient_clip:g}: with the muon optimizer it must be 0 (off)"
            )

    def check_method(self, method: Method) -> None:
        """Refuse Muon for adapters: their matrices are factors of a change, and neither maps one hidden space to
        another; Muon gives both steps of full size, though one of them starts at zero."""
        if self.name == "muon" and not isinstance(method, Full):
            raise ValueError(
                f"optimizer.name is muon, but method.kind {method.kind} trains adapters: set it to adamw"
            )


def check_dropout(method: Method, why: str) -> None:
    """Refuse dropout of adapters where a training has none."""
    if not isinstance(method, Full) and method.dropout:
        raise ValueError(f"method.dropout is {method.dropout:g}: {why} without dropout; set it to 0.0")


class Steps(Section):
    steps: Positive
    """Number of optimizer steps."""
    batch_size: Positive
    """Number of sequences of a step, over all ranks."""
    precision: Precision
    """fp32, or bf16 autocast."""
    warmup_steps: NonNegative
    """Number of steps over which the rate rises, linearly."""
    decay_fraction: Share
    """Share of the steps, at the end, over which the rate falls to zero, 0 to 1."""
    gradient_clip: Annotated[float, Field(ge=0)]
    """Largest norm of the gradient; 0: it is not clipped, as Muon needs it."""
    method: Method = FULL
    """Which weights learn; not given: all. `kind` is full, lora or qlora."""
    keep: Keep = LAST
    """Which weights it ends with; not given: the last. `kind` is last or best."""

    @model_validator(mode="after")
    def warms_up(self) -> Steps:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}: it must be below steps, {self.steps}")
        return self


class Training(Steps):
    optimizer: Optimizer
    """The optimizer and its rates."""

    @model_validator(mode="after")
    def fits(self) -> Training:
        self.optimizer.check_clip(self.gradient_clip)
        self.optimizer.check_method(self.method)
        return self


class PairTraining(Training):
    """A training on preference pairs, which sets some of them aside to find its best weights by."""

    keep: KeepOfPairs = LAST
    """Which weights it ends with; not given: the last. `kind` is last or best."""


class TaskTraining(Steps):
    betas: Betas
    """AdamW's decay rates of the first and the second moment, 0 to 1."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay of a step, to be multiplied by the learning rate."""
