"""The section of preferences: who compares responses, by name, each an answer of one kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jokbo.params.base import Name, Names, NonNegative, Positive, Rate, Section, Seed, Share
from jokbo.params.start import FromFolder, FromHub, FromPackage

Form = Literal["pairs", "choices", "rankings", "label_studio", "argilla", "potato", "arena"]
Field_ = Literal[
    "prompt", "chosen", "rejected", "first", "second", "responses", "choice", "ranking", "labeller", "time"
]


class Ratings(Section):
    kind: Literal["ratings"]
    """ratings: of single texts by people; the text with the higher ratings is preferred."""
    sources: Annotated[Names, Field(min_length=1)]
    """Names of the sources of texts that people rated."""
    pairs: NonNegative
    """Number of pairs of rated texts to learn from, over all sources."""
    test_pairs: Positive
    """Number of pairs of rated texts that no stage learns from, over all sources."""
    minimum_agreement: Annotated[float, Field(gt=0.5, le=1)]
    """Least share of a test pair's raters who agree, above 0.5 to 1, without ties."""

    @model_validator(mode="after")
    def a_pair_of_each(self) -> Ratings:
        if self.test_pairs < len(self.sources):
            raise ValueError(
                f"test_pairs is {self.test_pairs}: it must be at least 1 for each of sources, {len(self.sources)}"
            )
        return self


class Simulated(Section):
    kind: Literal["simulated"]
    """simulated: raters fitted to people's ratings compare responses of the policy."""
    sources: Annotated[Names, Field(min_length=1)]
    """Names of the sources of rated texts that the raters are fitted to."""
    prompts: Positive
    """Number of prompts to which the policy responds."""
    responses_per_prompt: Annotated[int, Field(ge=2)]
    """Number of responses to each prompt; every two of them are a pair."""
    temperature: Rate
    """Sampling temperature of the responses."""


class ComparisonFile(Section):
    kind: Literal["file"]
    """file: comparisons or rankings of your own, below data/local."""
    form: Form
    """Form of the file: pairs, choices, rankings, label_studio, argilla, potato or arena."""
    paths: Annotated[str, Field(min_length=1)]
    """A file or a glob below data/local."""
    items: Annotated[str, Field(min_length=1)] | None = None
    """The file of the items that were compared, below data/local; for potato, whose export does not hold them."""
    columns: dict[Field_, str] | None = None
    """What the file calls its fields, by our names for them, where it does not call them so."""
    prompts: Annotated[str, Field(min_length=1)] | None = None
    """A file of prompts below data/local, as prompts.file: comparisons of others are left out; not given: of any."""
    ignore: Names | None = None
    """Names of columns that are not read; pairs, choices and rankings refuse a column that they do not know."""
    held_out: Share
    """Share of the prompts whose comparisons no stage learns from, 0 to 1: the reward model is scored on them."""

    @model_validator(mode="after")
    def fits_the_form(self) -> ComparisonFile:
        if (self.form == "potato") != (self.items is not None):
            what = (
                "is missing: name the file of the items"
                if self.form == "potato"
                else "is for potato: remove it"
            )
            raise ValueError(f"items {what}")
        if self.ignore and self.form not in ("pairs", "choices", "rankings"):
            raise ValueError(
                f"ignore is for pairs, choices and rankings: in {self.form} other fields are not read"
            )
        return self


class People(Section):
    kind: Literal["people"]
    """people: they compare responses of the policy on the page of `jokbo label`."""
    prompts: Positive
    """Number of prompts to which the policy responds."""
    responses_per_prompt: Annotated[int, Field(ge=2, le=9)]
    """Number of responses to each prompt, 2 to 9."""
    ask: Literal["pairs", "rankings"]
    """pairs: every two responses are an item; rankings: all responses to a prompt are one."""
    temperature: Rate
    """Sampling temperature of the responses."""
    labels_per_item: Positive
    """Number of people who judge each item."""
    held_out: Share
    """Share of the prompts whose votes no stage learns from, 0 to 1: the reward model is scored on them."""
    votes: Literal["all", "majority", "dawid_skene"]
    """all: each vote is a pair; majority: each comparison, as most say; dawid_skene: who errs less counts for more."""
    deadline_hours: Annotated[float, Field(gt=0, le=87_600)] | None = None
    """Hours after the items were published when waiting ends, at most 87,600; not given: with the last label."""
    enough: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the labels that suffices at the deadline, above 0 to 1; not given: all of them are needed."""
    instructions: Annotated[str, Field(min_length=1)] | None = None
    """A text file below data/local that people have at hand; not given: the page's own words alone."""
    gold: Annotated[str, Field(min_length=1)] | None = None
    """A file of the form choices below data/local, whose comparisons are mixed in to see who reads with care."""

    @model_validator(mode="after")
    def enough_at_the_deadline(self) -> People:
        if self.enough is not None and self.deadline_hours is None:
            raise ValueError("enough is for a deadline: give deadline_hours too, or remove enough")
        return self


class Base(Section):
    kind: Literal["base"]
    """base: the chain's own base model, models/base."""


class ChainOfThought(Section):
    tokens: Positive
    """Most tokens that the judge writes before it answers."""
    temperature: Rate
    """Sampling temperature of what it writes."""
    lowest: Annotated[float, Field(ge=0, lt=0.5)]
    """Least probability of a response, 0 to 0.5; the largest is 1 less it. Bai et al. 2022, section 4.1: 0.4."""


class AiJudge(Section):
    kind: Literal["ai"]
    """ai: a language model compares responses of the policy, by principles."""
    judge: Annotated[FromPackage | FromHub | FromFolder | Base, Field(discriminator="kind")]
    """The model that judges; `kind` is package, hub, folder or base. It may not have the policy's weights."""
    chat: bool
    """Whether it is asked by its chat template, true or false; false: it goes on with a text."""
    constitution: Annotated[str, Field(min_length=1)] | None = None
    """A YAML file of principles below data/local; not given: those of jokbo/feedback/constitution.yaml."""
    template: Annotated[str, Field(min_length=1)] | None = None
    """A Jinja file below data/local that writes the question; not given: jokbo/feedback/question.jinja."""
    chain_of_thought: ChainOfThought | None = None
    """How it reasons before it answers; not given: it answers at once."""
    minimum_mass: Share
    """Least probability of A and B together, 0 to 1; a pair with less is left out, for the judge answers neither."""
    prompts: Positive
    """Number of prompts to which the policy responds."""
    responses_per_prompt: Annotated[int, Field(ge=2)]
    """Number of responses to each prompt; every two of them are a pair."""
    temperature: Rate
    """Sampling temperature of the responses."""
    held_out: Share
    """Share of the prompts whose pairs no stage learns from, 0 to 1."""
    compared: NonNegative
    """Most pairs of each other labeller that it judges too, to see how often the two agree; 0: none."""


Labeller = Annotated[Ratings | Simulated | ComparisonFile | People | AiJudge, Field(discriminator="kind")]


class Preferences(Section):
    seed: Seed
    """Seed of sampled responses, raters, pairs and of what is held out."""
    labellers: Annotated[dict[Name, Labeller], Field(min_length=1)]
    """Who compares responses, by a name of your own."""
