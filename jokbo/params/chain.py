"""The sections of the chain after the data: from the base model to the evaluation, and how they are computed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from jokbo.params.base import (
    Name,
    Names,
    NonNegative,
    Positive,
    Rate,
    Section,
    Seed,
)
from jokbo.params.judges import Judge
from jokbo.params.labels import HARD, Labels
from jokbo.params.method import Full
from jokbo.params.start import Start
from jokbo.params.training import PairTraining, TaskTraining, Training


class Compute(Section):
    processes: Positive
    """Number of ranks of a stage that trains."""
    launcher: Literal["own", "external"]
    """Who starts the ranks: own (jokbo, on this machine) or external (torchrun, Slurm).

    With external, each rank must have RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in its environment.
    Close MASTER_PORT to other machines: torchrun listens to all of them and asks for no password. With own, RANK is
    ignored. Ranks may be on several hosts: docs/scale.md says what those need.
    """
    workers: NonNegative
    """Number of processes that share the shards of prepare and tokenize; 0: one a core."""
    zero_stage: Literal[0, 1, 2, 3]
    """DeepSpeed ZeRO stage: 0, 1, 2 or 3."""
    micro_batch: NonNegative
    """Number of sequences that a rank holds at once; 0: its whole share of the batch."""
    compile: bool
    """Whether trainings of 500 steps or more are compiled, true or false.

    Without a GPU this needs a C++ compiler.
    """
    activation_checkpointing: bool
    """Whether layers are computed again in backward, so that less is held in between, true or false.

    It takes a forward pass more a step. What it comes to is the same.
    """
    offload: Literal["none", "optimizer", "parameters"]
    """What of a training on an accelerator lies in the machine's own memory: none, optimizer or parameters.

    optimizer: its state and its copy of the weights, with zero_stage 1 or more. parameters: the weights too, with
    zero_stage 3.
    """
    checkpoint_seconds: Annotated[float, Field(ge=0)]
    """Least time between two checkpoints, in seconds."""

    @model_validator(mode="after")
    def offloads_what_is_shared(self) -> Compute:
        least = {"none": 0, "optimizer": 1, "parameters": 3}[self.offload]
        if self.zero_stage < least:
            found = f"offload is {self.offload}, but zero_stage is {self.zero_stage}"
            raise ValueError(
                f"{found}: set zero_stage to {least}{' or more' * (least < 3)}, or offload to none"
            )
        return self

    def check_batches(self, batches: Iterable[tuple[str, int]]) -> None:
        """Refuse a batch size that the ranks and their micro-batches cannot share evenly; batches are (key, size)."""
        rows = self.processes * max(self.micro_batch, 1)
        for key, batch in batches:
            if batch % rows:
                raise ValueError(
                    f"{key} is {batch}: it must be a multiple of compute.processes "
                    f"({self.processes}) x compute.micro_batch ({self.micro_batch or 'all'})"
                )


class Pretrain(Section):
    seed: Seed
    """Seed of the first weights, dropout and the order of sequences."""
    start: Start
    """The model that training starts from; `kind` is scratch, package, hub or folder."""
    packing: Literal["joined", "masked", "padded"]
    """How documents fill sequences: joined, masked or padded.

    masked: no attention across documents. padded: one document a sequence.
    """
    training: Training | None
    """How it is trained; null: a model that is adopted stays as it is."""

    @model_validator(mode="after")
    def some_model(self) -> Pretrain:
        if self.training is None and self.start.kind == "scratch":
            raise ValueError("training is null: with start.kind scratch it must say how the model is trained")
        if self.training and self.start.kind == "scratch" and not isinstance(self.training.method, Full):
            found = f"training.method.kind is {self.training.method.kind}, but start.kind is scratch"
            raise ValueError(f"{found}: fresh weights must learn; set it to full")
        return self


class ContinuationPrompts(Section):
    kind: Literal["continuation"]
    """continuation: the beginning of a sentence, which the policy goes on with."""
    seed: Seed
    """Seed of the choice of sentences and of their order."""
    sources: Annotated[Names, Field(min_length=1)]
    """Names of the sources whose texts give prompts."""
    prompts_per_text: Positive
    """Most prompts that a text gives; stages take as many of them or fewer."""
    prompt_tokens: Positive
    """Number of tokens of a prompt."""
    response_tokens: Annotated[int, Field(ge=2)]
    """Most tokens of a response, its end of text among them."""


def _below_local(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(
            f"{path!r} is not below data/local: give it relative to that folder, and put the file there"
        )
    return path


class ConversationPrompts(Section):
    kind: Literal["conversation"]
    """conversation: what stands before the last answer of a conversation, by a chat template."""
    seed: Seed
    """Seed of the order of conversations."""
    sources: Annotated[Names, Field(min_length=1)]
    """Names of the sources of conversations."""
    template: Annotated[str, AfterValidator(_below_local)] | None = None
    """A chat template, a file below data/local; not given: the tokenizer's own, or a plain one."""
    file: Annotated[str, AfterValidator(_below_local), Field(pattern=r"\.(jsonl|txt)$")] | None = None
    """Own prompts for preferences and PPO, a jsonl or txt below data/local; not given: conversations of the split."""
    prompt_tokens: Positive
    """Most tokens of a prompt; older turns are left out where there are more."""
    response_tokens: Annotated[int, Field(ge=2)]
    """Most tokens of a response, its end of text among them."""

    @property
    def prompts_per_text(self) -> int:
        """Return how many prompts a conversation gives: what is before its last answer is one."""
        return 1


Prompts = Annotated[ContinuationPrompts | ConversationPrompts, Field(discriminator="kind")]


class Policy(Section):
    prompts_per_text: Positive
    """Most prompts of a text that it learns from, up to prompts.prompts_per_text."""
    training: Training
    """How it is trained; a sequence is a row of prompts with their responses."""


class Curve(Section):
    labels: Annotated[list[Positive | Literal["all"]], Field(min_length=2)]
    """Numbers of labelled training texts, or all."""
    seeds: Annotated[int, Field(ge=2, le=100)]
    """Number of trainings with each number of texts: each draws its texts, and begins, by a seed of its own."""

    @property
    def numbers(self) -> list[int]:
        """The numbers of texts that are said in digits."""
        return [count for count in self.labels if count != "all"]


class LabelledTask(Section):
    source: str
    """Name of the source of labelled texts."""
    context: Positive
    """Most tokens of a text that it reads, the end of text among them."""
    scratch: bool
    """Whether the same network is trained from random weights beside it, true or false."""
    language_model_weight: Annotated[float, Field(ge=0)]
    """Lambda of the loss L2 + lambda L1 (GPT-1, equation 5)."""
    rates: Annotated[list[Rate], Field(min_length=1)]
    """Highest learning rates that are tried; the one that is best on validation stays."""
    training: TaskTraining
    """How it is trained, by AdamW; a sequence is a text."""
    curve: Curve | None = None
    """Trainings on fewer labels, for a curve of accuracy; if not given, none."""
    if TYPE_CHECKING:
        kind: str  # each kind declares its own

    @model_validator(mode="after")
    def fills_a_batch(self) -> LabelledTask:
        for count in self.curve.numbers if self.curve else ():
            if count < self.training.batch_size:
                found = f"curve.labels has {count}"
                raise ValueError(
                    f"{found}: it must be at least training.batch_size, {self.training.batch_size}"
                )
        return self


class Classification(LabelledTask):
    kind: Literal["classification"]
    """classification: a text is of one of several classes."""


class Pairs(LabelledTask):
    kind: Literal["pairs"]
    """pairs: two texts are of one of several classes."""
    symmetric: bool
    """Whether neither text is the first, as in a similarity, so that both orders are read; true or false."""


class Choice(LabelledTask):
    kind: Literal["choice"]
    """choice: one of several answers to a text is right; the label says which."""


class Finetune(Section):
    seed: Seed
    """Seed of the order of sequences and of fresh heads."""
    policy: Policy
    """The policy, which responds to prompts."""
    tasks: dict[Name, Annotated[Classification | Pairs | Choice, Field(discriminator="kind")]]
    """Labelled tasks, by name: each is learned from the base model and measured beside simpler models."""


class DistillationWeights(Section):
    soft_targets: Annotated[float, Field(ge=0)]
    """Weight of the loss against the teacher's distributions."""
    language_model: Annotated[float, Field(ge=0)]
    """Weight of the loss on the tokens that people wrote."""
    cosine: Annotated[float, Field(ge=0)]
    """Weight of the cosine distance between the last hidden states."""


class NoStudent(Section):
    kind: Literal["none"]
    """none: there is no student."""


class Distill(Section):
    kind: Literal["student"]
    """student: a network with fewer layers learns from the supervised policy; none: there is no student."""
    seed: Seed
    """Seed of the order of sequences."""
    layers: Positive
    """Number of layers of the student, copied from the teacher's."""
    prompts_per_text: Positive
    """Most prompts of a text that it learns from, up to prompts.prompts_per_text."""
    temperature: Rate
    """Temperature by which the logits are divided for the soft targets."""
    weights: DistillationWeights
    """Weights of the three losses."""
    training: Training
    """How it is trained; a sequence is a row of prompts with their responses."""


class NoReward(Section):
    kind: Literal["none"]
    """none: there is no reward model; dpo needs none."""


class Reward(Section):
    kind: Literal["model"]
    """model: a reward model learns the pairs; none: there is none, as dpo needs none."""
    seed: Seed
    """Seed of the order of pairs and of the fresh head."""
    normalisation_samples: Annotated[int, Field(ge=4)]
    """Number of the policy's responses over which rewards get mean 0 and deviation 1."""
    context: Positive
    """Most tokens of prompt, response and end of text that it reads."""
    labels: Labels = HARD
    """What it learns of a pair; not given: who was chosen. `kind` is hard or soft."""
    members: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of reward models that learn the same, each from a seed of its own; not given: 1."""
    batch_of: Literal["pairs", "prompts"] = "pairs"
    """What a batch counts: pairs, or prompts, each with all pairs of its responses; not given: pairs."""
    training: PairTraining
    """How it is trained; a sequence of the batch is a pair, or a prompt (batch_of)."""


class Benchmark(Section):
    file: Annotated[str, Field(pattern=r"\.ya?ml$")]
    """The task: a YAML file below data/local in the form of lm-evaluation-harness, with its rows beside it."""
    limit: Positive | None = None
    """Most examples that are asked, the first ones; not given: all."""
    shots: NonNegative | None = None
    """Number of answered examples before a question; not given: as the file says."""
    apply_chat_template: bool | None = None
    """Whether models are asked by their chat template, true or false; not given: false, as plain text."""
    fewshot_as_multiturn: bool | None = None
    """With it, whether each answered example is a turn of its own; not given: true; false: all are one question."""

    @model_validator(mode="after")
    def turns_of_a_template(self) -> Benchmark:
        if self.fewshot_as_multiturn is not None and not self.apply_chat_template:
            raise ValueError(
                "fewshot_as_multiturn is for apply_chat_template: set that to true, or take it out"
            )
        return self


class Evaluate(Section):
    seed: Seed
    """Seed of sampled responses and resamples."""
    prompts: Annotated[int, Field(ge=2)]
    """Number of held-out prompts, one a text."""
    temperature: Rate
    """Sampling temperature."""
    matched_tokens: NonNegative
    """Most tokens by which two responses of like length may differ."""
    bootstrap: Positive
    """Number of resamples of the intervals."""
    judges: dict[Name, Judge]
    """Who judges the responses, by a name of your own; {}: nobody."""
    headline: Name | None
    """Name of the judge by which runs are compared; null without judges."""
    benchmarks: dict[Name, Benchmark]
    """Tasks of your own that every model is asked, by name; {}: none."""

    @model_validator(mode="after")
    def has_a_headline(self) -> Evaluate:
        if self.judges and self.headline not in self.judges:
            raise ValueError(
                f"headline is {self.headline or 'null'}: name one of judges, {', '.join(self.judges)}"
            )
        if not self.judges and self.headline is not None:
            raise ValueError(f"headline is {self.headline}, but judges names none: set it to null")
        return self
