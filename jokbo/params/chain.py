"""The sections of the chain from a base model to an aligned one, and how they are computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from jokbo.params.base import (
    Betas,
    DropoutRate,
    Names,
    NonNegative,
    Positive,
    Precision,
    Rate,
    Section,
    Seed,
    Share,
    SizeOf,
    check_heads,
)


class Compute(Section):
    processes: Positive
    """Ranks of a stage that trains."""
    launcher: Literal["own", "external"]
    """Who starts the ranks: own (jokbo, on this machine) or external (torchrun, Slurm).

    With external each rank has RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in its environment. Keep
    strangers from the last: torchrun listens to any machine, without a password. With own, RANK is ignored.
    """
    workers: NonNegative
    """Processes that share the shards of prepare and tokenize; 0: one a core."""
    zero_stage: Literal[0, 1, 2, 3]
    """DeepSpeed ZeRO stage: 0, 1, 2 or 3."""
    micro_batch: NonNegative
    """Sequences that a rank holds at once; 0: its whole share of the batch."""
    compile: bool
    """Whether trainings of 500 steps and more are compiled.

    Without a GPU that needs a C++ compiler.
    """
    checkpoint_seconds: Annotated[float, Field(ge=0)]
    """Least time between two checkpoints, seconds."""

    def check_batches(self, batches: Iterable[tuple[str, int]]) -> None:
        """Refuse a batch, given by key, whose rows the ranks and their micro-batches cannot share evenly."""
        rows = self.processes * max(self.micro_batch, 1)
        for key, batch in batches:
            if batch % rows:
                raise ValueError(
                    f"{key} is {batch}: it must be a multiple of compute.processes "
                    f"({self.processes}) x compute.micro_batch ({self.micro_batch or 'all'})"
                )


class Model(Section):
    architecture: Literal["gpt2", "llama"]
    """Network of transformers: gpt2 or llama."""
    layers: SizeOf
    """Layers."""
    width: SizeOf
    """Hidden size."""
    heads: SizeOf
    """Attention heads; they divide the hidden size."""
    context: SizeOf
    """Tokens that it reads at once."""
    dropout: DropoutRate
    """Share of activations that are dropped in training."""

    @property
    def hidden_size(self) -> int:
        """The width, by the name that networks have for it."""
        return self.width

    @model_validator(mode="after")
    def divides(self) -> Model:
        check_heads(self.width, self.heads)
        if self.architecture == "llama" and (self.width // self.heads) % 2:
            raise ValueError(
                f"width / heads is {self.width // self.heads}: rotary positions need an even number"
            )
        return self


class Optimizer(Section):
    name: Literal["adamw", "muon"]
    """adamw, or muon: Muon for hidden matrices, AdamW for the rest."""
    learning_rate: Rate
    """Highest learning rate; of Muon's matrices where it is muon."""
    adam_learning_rate: Rate
    """Highest learning rate of what AdamW trains."""
    betas: Betas
    """AdamW's decay rates of the two moments."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay."""

    def check_clip(self, gradient_clip: float) -> None:
        """Under ZeRO what would be clipped is Muon's orthogonalised update, whose size is its point."""
        if self.name == "muon" and gradient_clip:
            raise ValueError(
                f"gradient_clip is {gradient_clip:g}: with the muon optimizer it must be 0 (off)"
            )


class Training(Section):
    steps: Positive
    """Optimizer steps."""
    batch: Positive
    """Rows of a step, over all ranks."""
    precision: Precision
    """fp32, or bf16 autocast."""
    optimizer: Optimizer
    """Optimizer and its rates."""
    warmup_steps: NonNegative
    """Steps of linear warm-up."""
    decay_fraction: Share
    """Share of the steps, at the end, over which the rate falls to zero."""
    gradient_clip: Annotated[float, Field(ge=0)]
    """Largest norm of the gradient; 0: not clipped, as Muon needs it."""

    @model_validator(mode="after")
    def warms_up(self) -> Training:
        self.optimizer.check_clip(self.gradient_clip)
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}: it must be below steps, {self.steps}")
        return self


class Pretrain(Section):
    seed: Seed
    """Of first weights, dropout and the order of sequences."""
    model: Model
    """The network."""
    packing: Literal["joined", "masked", "padded"]
    """How documents fill sequences: joined, masked or padded.

    masked: without attention across documents. padded: a document a sequence.
    """
    training: Training
    """How it is trained; a row is a sequence."""


class Prompts(Section):
    seed: Seed
    """Of which sentences are drawn, and of their order."""
    sources: Annotated[Names, Field(min_length=1)]
    """Sources of the texts that prompts are cut from."""
    sentences_per_review: Positive
    """Prompts that a text gives at most; stages take as many of them or fewer."""
    prompt_tokens: Positive
    """Tokens of a prompt."""
    response_tokens: Annotated[int, Field(ge=2)]
    """Tokens of an answer at most, its end of text among them."""


class Policy(Section):
    sentences_per_review: Positive
    """Prompts of a text that it learns from; at most prompts.sentences_per_review."""
    training: Training
    """How it is trained; a row is a prompt with its answer."""


class Classifier(Section):
    source: str
    """Source of the labelled texts."""
    context: Positive
    """Tokens of a text that it reads, the end of text among them."""
    language_model_weight: Annotated[float, Field(ge=0)]
    """Lambda of the loss L2 + lambda L1 (GPT-1, equation 5)."""
    training: Training
    """How it is trained; a row is a text."""


class Finetune(Section):
    seed: Seed
    """Of the order of rows and of fresh heads."""
    policy: Policy
    """The policy, which answers prompts."""
    classifier: Classifier
    """GPT-1's classifier of texts, beside the same from random weights and naive Bayes."""


class DistillationWeights(Section):
    soft_targets: Annotated[float, Field(ge=0)]
    """Of the teacher's distributions."""
    language_model: Annotated[float, Field(ge=0)]
    """Of the tokens that people wrote."""
    cosine: Annotated[float, Field(ge=0)]
    """Of the cosine between last hidden states."""


class Distill(Section):
    seed: Seed
    """Of the order of rows."""
    layers: Positive
    """Layers of the student, taken from the teacher's."""
    sentences_per_review: Positive
    """Prompts of a text that it learns from; at most prompts.sentences_per_review."""
    temperature: Rate
    """Temperature of the soft targets."""
    weights: DistillationWeights
    """Weights of the three losses."""
    training: Training
    """How it is trained; a row is a prompt with its answer."""


class Preferences(Section):
    seed: Seed
    """Of sampled answers, raters and pairs."""
    prompts: Positive
    """Prompts to which the policy answers."""
    responses_per_prompt: Annotated[int, Field(ge=2)]
    """Answers to each prompt, every pair of which is compared."""
    temperature: Rate
    """Sampling temperature of the answers."""
    human_sources: Annotated[Names, Field(min_length=1)]
    """Sources of texts that people rated."""
    human_pairs: NonNegative
    """Pairs of rated texts to learn from, over all sources."""
    test_pairs: Positive
    """Pairs of rated texts that no stage learns from, over all sources."""
    minimum_agreement: Annotated[float, Field(gt=0.5, le=1)]
    """Share of a test pair's raters who agree, ties left out."""

    @model_validator(mode="after")
    def a_pair_of_each(self) -> Preferences:
        if self.test_pairs < len(self.human_sources):
            raise ValueError(
                f"test_pairs is {self.test_pairs}: it must be at least 1 for each of human_sources, "
                f"{len(self.human_sources)}"
            )
        return self


class Reward(Section):
    seed: Seed
    """Of the order of rows and of the fresh head."""
    normalisation_samples: Annotated[int, Field(ge=4)]
    """Policy's answers over which rewards are brought to mean 0 and standard deviation 1."""
    context: Positive
    """Tokens of prompt, answer and end of text that it reads."""
    training: Training
    """How it is trained; a row is a pair."""


class Ppo(Section):
    seed: Seed
    """Of prompts, sampled answers and minibatches."""
    sentences_per_review: Positive
    """Prompts of a text that it is asked; at most prompts.sentences_per_review."""
    iterations: Positive
    """Iterations, each a rollout and its epochs."""
    rollout_batch: Annotated[int, Field(ge=2)]
    """Prompts of an iteration, one answer each."""
    epochs: Positive
    """Passes over a rollout."""
    minibatch: Positive
    """Answers of an optimizer step; it divides rollout_batch."""
    temperature: Rate
    """Sampling temperature."""
    discount: Share
    """Gamma: worth of a reward one token later."""
    gae_lambda: Share
    """Lambda of the advantage estimates."""
    clip: Rate
    """Range of the policy's ratio about 1."""
    value_clip: Rate
    """Range of the value about the one at sampling."""
    kl_coefficient: Annotated[float, Field(ge=0)]
    """Beta, price of a nat of KL, at the start."""
    kl_target: Rate
    """KL that beta is steered to, nats an answer."""
    kl_gain: Annotated[float, Field(ge=0)]
    """K of the controller that moves beta."""
    length_gain: Annotated[float, Field(ge=0)]
    """Gain of the reward that holds answers as long as the supervised policy's; 0: none."""
    value_rollouts: Positive
    """Rollouts to which the value's head is fitted before anything moves."""
    unfinished_penalty: Annotated[float, Field(ge=0)]
    """Taken from the reward of an answer that does not come to its end."""
    policy_optimizer: Optimizer
    """Optimizer of the policy."""
    value_optimizer: Optimizer
    """Optimizer of the value network."""
    gradient_clip: Annotated[float, Field(ge=0)]
    """Largest norm of the gradient; 0: not clipped."""
    precision: Precision
    """fp32, or bf16 autocast."""
    rollouts_every: Positive
    """Iterations from one recorded rollout (data/rollouts) to the next.

    The last one is always recorded.
    """

    @model_validator(mode="after")
    def whole_minibatches(self) -> Ppo:
        self.policy_optimizer.check_clip(self.gradient_clip)
        self.value_optimizer.check_clip(self.gradient_clip)
        if self.rollout_batch % self.minibatch:
            raise ValueError(
                f"minibatch is {self.minibatch}: it must divide rollout_batch, which is {self.rollout_batch}"
            )
        return self


class Evaluate(Section):
    seed: Seed
    """Of sampled answers and resamples."""
    prompts: Annotated[int, Field(ge=2)]
    """Held-out prompts, one a text."""
    temperature: Rate
    """Sampling temperature."""
    matched_tokens: NonNegative
    """Tokens by which two answers may differ and still be of like length."""
    bootstrap: Positive
    """Resamples of the intervals."""
