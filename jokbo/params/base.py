"""The base class of the sections of params.yaml, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0, lt=2**53)]
# a size of a network: layers, units, tokens that it reads at once
SizeOf = Annotated[int, Field(gt=0, le=1_000_000)]
NonNegative = Annotated[int, Field(ge=0, lt=2**53)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]  # of a file, a folder or a stage of DVC
DropoutRate = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
Precision = Literal["fp32", "bf16"]
Requirement = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[^=\s]+$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _no_name_twice(names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name[:80]} is named twice: name it once")
    return names


Names = Annotated[list[str], AfterValidator(_no_name_twice)]  # of sources


class Section(BaseModel):
    """A section: it refuses unknown keys, converts nothing, and cannot be changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def check_heads(hidden_size: int, heads: int) -> None:
    """Raise ValueError if the heads do not divide the hidden size."""
    if hidden_size % heads:
        raise ValueError(f"heads is {heads}: it must divide hidden_size, which is {hidden_size}")
