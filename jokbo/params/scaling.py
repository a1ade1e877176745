"""scaling/params.yaml: the sweep of sizes and budgets from which scaling laws are fitted."""

from __future__ import annotations

from itertools import chain
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from jokbo.params.base import (
    Betas,
    Name,
    NonNegative,
    Positive,
    Precision,
    Rate,
    Section,
    Seed,
    Share,
    SizeOf,
)
from jokbo.params.base import check_heads as divides
from jokbo.params.chain import Compute
from jokbo.params.data import Tokenizer


class Size(Section):
    layers: SizeOf
    """Number of layers."""
    hidden_size: SizeOf
    """Hidden size: numbers in the state of one token."""
    heads: SizeOf
    """Number of attention heads; it must divide the hidden size."""

    @model_validator(mode="after")
    def fits(self) -> Size:
        divides(self.hidden_size, self.heads)
        return self


class RateSearch(Section):
    """Where the learning rate of each size comes from: a few runs, whose best rates give a rule for all sizes."""

    sizes: Annotated[list[Name], Field(min_length=2)]
    """Sizes that are tried, two or more; a line through their best rates gives the other sizes theirs."""
    steps: Positive
    """Number of optimizer steps of each run that tries a rate."""
    rates: Annotated[list[Rate], Field(min_length=3)]
    """Highest learning rates that are tried, three or more."""


class Marks(Section):
    """Where a run is looked at between its steps."""

    count: NonNegative
    """How often a run is measured before its end: after 1/2, 1/4, ... of its steps; 0: never."""
    noise_batches: NonNegative
    """Number of batches whose gradient is compared with that of their parts, for the noise scale; 0: it is not
    estimated."""
    noise_parts: Annotated[int, Field(ge=2)]
    """Number of parts of each of these batches."""


class Scaling(Section):
    seed: Seed
    """Of first weights and the order of sequences."""
    tokenizer: Tokenizer | None
    """Tokenizer, learned from the chain's documents; null: the chain's own tokens."""
    context: SizeOf
    """Most inputs of a sequence, in tokens."""
    batch_size: Positive
    """Number of sequences of a step."""
    precision: Precision
    """fp32, or bf16 autocast."""
    architecture: Literal["gpt2", "llama"]
    """Network of transformers: gpt2 or llama."""
    sizes: Annotated[dict[Name, Size], Field(min_length=2)]
    """Sizes of networks, by name."""
    budgets: Annotated[list[Rate], Field(min_length=1)]
    """FLOPs of a run, by 6 N D with all parameters; each budget is spent by every size that can."""
    least_steps: Positive
    """Least steps of a run; a size for which a budget pays fewer is left out there."""
    most_epochs: Rate
    """Most passes over the text; a size for which a budget pays more is left out there."""
    rates: RateSearch
    """Where the learning rate of each size comes from."""
    betas: Betas
    """AdamW's decay rates of the first and the second moment, 0 to 1."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay of a step, to be multiplied by the learning rate."""
    warmup_fraction: Share
    """Share of the steps over which the rate rises, 0 to 1."""
    decay_fraction: Share
    """Share of the steps, at the end, over which the rate falls to zero, 0 to 1."""
    gradient_clip: Annotated[float, Field(ge=0)]
    """Largest norm of the gradient; 0: it is not clipped."""
    held_out_windows: Positive
    """Number of sequences of validation text that losses are measured on."""
    marks: Marks
    """Where a run is looked at between its steps."""
    bootstrap: Annotated[int, Field(ge=20)]
    """Number of resamples of the runs, for intervals."""

    @model_validator(mode="after")
    def fits(self) -> Scaling:
        for name in self.rates.sizes:
            if name not in self.sizes:
                raise ValueError(f"rates.sizes names {name}: it must be one of {', '.join(self.sizes)}")
        if len({self.sizes[name].hidden_size for name in self.rates.sizes}) < 2:
            raise ValueError("rates.sizes have one hidden size: name two that differ")
        if self.marks.noise_batches and self.batch_size % self.marks.noise_parts:
            raise ValueError(
                f"marks.noise_parts is {self.marks.noise_parts}: it must divide batch_size, {self.batch_size}"
            )
        for budget in chain(self.budgets, self.rates.rates):
            if (self.budgets + self.rates.rates).count(budget) > 1:
                raise ValueError(f"{budget:g} stands twice in a list of budgets or rates: leave it out")
        return self


class ScalingParams(Section):
    FILE: ClassVar[str] = "scaling/params.yaml"

    compute: Compute
    """How trainings run: of the chain's params.yaml."""
    scaling: Scaling
    """The sweep."""
