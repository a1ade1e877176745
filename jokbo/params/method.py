"""The answers to the question how a network that was given is trained: `method`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jokbo.params.base import DropoutRate, Names, Rate, Section, SizeOf

ALL_LINEAR = "all-linear"  # a target: every linear layer of the network but its head


class Full(Section):
    kind: Literal["full"]
    """full: all weights learn."""


class Adapters(Section):
    """Low-rank adapters beside linear layers, whose own weights stay as they are (Hu et al. 2022)."""

    rank: SizeOf
    """Rank of an adapter: numbers between its two matrices."""
    alpha: Rate
    """An adapter's output is multiplied by alpha / rank."""
    targets: Annotated[Names, Field(min_length=1)]
    """Names of the linear layers that get adapters, such as q_proj; all-linear: all of them."""
    dropout: DropoutRate
    """Share of an adapter's inputs that training sets to zero, 0 to 1."""

    @model_validator(mode="after")
    def all_or_some(self) -> Adapters:
        if ALL_LINEAR in self.targets and len(self.targets) > 1:
            raise ValueError(f"targets names {ALL_LINEAR} beside others: name it alone")
        return self


class Lora(Adapters):
    kind: Literal["lora"]
    """lora: adapters learn."""


class Qlora(Adapters):
    kind: Literal["qlora"]
    """qlora: adapters learn, and the other weights of linear layers are held in 4 bits (Dettmers et al. 2023)."""


Method = Annotated[Full | Lora | Qlora, Field(discriminator="kind")]
FULL = Full(kind="full")
