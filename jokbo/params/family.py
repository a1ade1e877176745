"""The sections of the family's comparison: the text, the systems and their budget, the baselines."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from jokbo.params.base import (
    Betas,
    DropoutRate,
    Name,
    Positive,
    Precision,
    Rate,
    Requirement,
    Section,
    Seed,
    Sha256,
    Share,
    check_heads,
)
from jokbo.params.data import Mix, Tokenizer, check_mix

SYSTEMS = Path(__file__).parent.parent / "systems"
SHARED = ("common", "gpt", "masking", "noise")  # files of SYSTEMS that are no paper
TEACHERS = "models/family/"  # where the trained systems are


def _paper(module: str) -> str:
    papers = {path.stem for path in SYSTEMS.glob("[a-z]*.py")} - {*SHARED}
    if module not in papers:
        near = difflib.get_close_matches(module, papers, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it must be one of {', '.join(sorted(papers))}"
        raise ValueError(f"there is no jokbo/systems/{module}.py with a system: {hint}")
    return module


class Package(Section):
    """A file in a package of PyPI."""

    requirement: Requirement
    sha256: Sha256


class Translations(Package):
    text: str  # of family_text.texts, in whose tokens they are


class Task(Section):
    sources: Annotated[list[str], Field(min_length=1)]
    neutral: Annotated[float, Field(ge=0)] | None = (
        None  # absent: labels as given; else the sign of the mean rating, and those nearer to 0 are left out
    )


class Examples(Section):
    """Of each task and split, at most."""

    train: Positive
    validation: Positive
    test: Positive


class FamilyText(Section):
    seed: Seed
    shard_tokens: Positive
    mix: Mix
    texts: dict[Name, Tokenizer]
    translations: Translations
    lexicon: Package
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    examples: Examples
    test_splits: Annotated[list[Literal["prompts", "test"]], Field(min_length=1)]

    @model_validator(mode="after")
    def some_text(self) -> FamilyText:
        check_mix(self.mix)
        if self.translations.text not in self.texts:
            raise ValueError(f"translations.text is {self.translations.text}: {_one_of(self.texts)}")
        return self


class Budget(Section):
    by: Literal["tokens", "flops", "seconds"]
    amount: Rate


class Search(Section):
    """Training a classifier, with the rate that is best on validation, once a seed."""

    seeds: Annotated[list[Seed], Field(min_length=2)]  # one alone has no standard deviation
    learning_rates: Annotated[list[Rate], Field(min_length=1)]
    steps: Positive
    batch: Positive
    warmup_fraction: Share


class System(Section):
    module: Annotated[str, AfterValidator(_paper)]
    text: str
    layers: Positive  # an encoder-decoder has as many in each
    width: Positive
    heads: Positive  # 1 where there is no attention
    dropout: DropoutRate
    context: Positive  # tokens of a row
    batch: Positive  # rows
    optimizer: Literal["adamw", "muon", "adafactor"]  # of pretraining
    learning_rate: Rate  # AdamW's, or Adafactor's; Muon's own is the family's
    precision: Precision
    schedule: Literal["trapezoid", "noam", "one_cycle"]
    finetune: Literal[
        "whole", "gradual", "frozen"
    ]  # gradual: as ULMFiT; frozen: a regression on its features
    revisions: Literal[True] | None = None  # keeps checkpoints at steps of powers of two, as Pythia did
    unit: Literal[True] | None = None  # which one unit tells sentiment best
    more: dict[
        Literal[
            "cells", "embedding", "feed_forward", "filters", "generator", "hidden", "norm", "rule", "teacher"
        ],
        Any,
    ]  # what only its paper has: see jokbo/systems/MODULE.py

    @model_validator(mode="after")
    def divides(self) -> System:
        check_heads(self.width, self.heads)
        return self


class Family(Section):
    seed: Seed
    budget: Budget
    warmup_fraction: Share
    decay_fraction: Share
    betas: Betas
    weight_decay: Annotated[float, Field(ge=0)]
    gradient_clip: Annotated[float, Field(ge=0)]  # 0: off; with Muon always
    muon_learning_rate: Rate
    held_out_batches: Positive
    finetune: Search
    systems: Annotated[dict[Name, System], Field(min_length=1)]

    @model_validator(mode="after")
    def fits_together(self) -> Family:
        for name, system in self.systems.items():
            if "teacher" in system.more:
                self._check_teacher(name, system)
        return self

    def _check_teacher(self, name: str, system: System) -> None:
        found = str(system.more["teacher"])
        folder, teacher = found[: len(TEACHERS)], self.systems.get(found[len(TEACHERS) :])
        key = f"systems.{name}.more.teacher is {found}"
        if folder != TEACHERS or teacher is None or "teacher" in teacher.more:
            raise ValueError(f"{key}: it must be {TEACHERS} and the name of a system without a teacher")
        if any(
            getattr(system, same) != getattr(teacher, same) for same in ("text", "width", "heads", "context")
        ):
            raise ValueError(f"{key}: text, width, heads and context must be the teacher's")


class Convolutions(Section):
    embedding: Positive
    widths: Annotated[list[Positive], Field(min_length=1)]  # of filters, in tokens
    filters: Positive  # of each width
    dropout: DropoutRate


class Recurrent(Section):
    embedding: Positive
    layers: Positive
    width: Positive
    dropout: DropoutRate


class FamilyBaselines(Section):
    text: str
    context: Positive  # tokens of a text that are read
    precision: Precision
    cnn: Convolutions
    lstm: Recurrent
    finetune: Search
    decay_fraction: Share
    betas: Betas
    weight_decay: Annotated[float, Field(ge=0)]
    gradient_clip: Annotated[float, Field(ge=0)]  # 0: off


def check_texts(text: FamilyText, family: Family, baselines: FamilyBaselines) -> None:
    """Every text that is read is one that is made."""
    read = {f"family.systems.{name}.text": system.text for name, system in family.systems.items()}
    for key, name in {**read, "family_baselines.text": baselines.text}.items():
        if name not in text.texts:
            raise ValueError(f"{key} is {name}: {_one_of(text.texts)}")


def _one_of(texts: dict[str, Tokenizer]) -> str:
    return f"it must be one of family_text.texts: {', '.join(texts)}"
