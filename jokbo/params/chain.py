"""The sections of the chain from a base model to an aligned one, and how they are computed."""

from __future__ import annotations

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
    launcher: Literal["own", "external"]
    workers: NonNegative
    zero_stage: Literal[0, 1, 2, 3]
    micro_batch: NonNegative
    compile: bool
    checkpoint_seconds: Annotated[float, Field(ge=0)]


class Model(Section):
    architecture: Literal["gpt2", "llama"]
    layers: SizeOf
    width: SizeOf
    heads: SizeOf
    context: SizeOf
    dropout: DropoutRate

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
    learning_rate: Rate
    adam_learning_rate: Rate
    betas: Betas
    weight_decay: Annotated[float, Field(ge=0)]

    def check_clip(self, gradient_clip: float) -> None:
        """Under ZeRO what would be clipped is Muon's orthogonalised update, whose size is its point."""
        if self.name == "muon" and gradient_clip:
            raise ValueError(
                f"gradient_clip is {gradient_clip:g}: with the muon optimizer it must be 0 (off)"
            )


class Training(Section):
    steps: Positive
    batch: Positive
    precision: Precision
    optimizer: Optimizer
    warmup_steps: NonNegative
    decay_fraction: Share
    gradient_clip: Annotated[float, Field(ge=0)]  # 0: off

    @model_validator(mode="after")
    def warms_up(self) -> Training:
        self.optimizer.check_clip(self.gradient_clip)
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}: it must be below steps, {self.steps}")
        return self


class Pretrain(Section):
    seed: Seed
    model: Model
    packing: Literal["joined", "masked", "padded"]
    training: Training


class Prompts(Section):
    seed: Seed
    sources: Annotated[Names, Field(min_length=1)]
    sentences_per_review: Positive
    prompt_tokens: Positive
    response_tokens: Annotated[int, Field(ge=2)]  # a word and the end


class Policy(Section):
    sentences_per_review: Positive
    training: Training


class Classifier(Section):
    source: str
    context: Positive
    language_model_weight: Annotated[float, Field(ge=0)]
    training: Training


class Finetune(Section):
    seed: Seed
    policy: Policy
    classifier: Classifier


class DistillationWeights(Section):
    soft_targets: Annotated[float, Field(ge=0)]
    language_model: Annotated[float, Field(ge=0)]
    cosine: Annotated[float, Field(ge=0)]


class Distill(Section):
    seed: Seed
    layers: Positive
    sentences_per_review: Positive
    temperature: Rate
    weights: DistillationWeights
    training: Training


class Preferences(Section):
    seed: Seed
    prompts: Positive
    responses_per_prompt: Annotated[int, Field(ge=2)]
    temperature: Rate
    human_sources: Annotated[Names, Field(min_length=1)]
    human_pairs: NonNegative
    test_pairs: Positive
    minimum_agreement: Annotated[float, Field(gt=0.5, le=1)]

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
    normalisation_samples: Annotated[int, Field(ge=4)]
    context: Positive
    training: Training


class Ppo(Section):
    seed: Seed
    sentences_per_review: Positive
    iterations: Positive
    rollout_batch: Annotated[int, Field(ge=2)]
    epochs: Positive
    minibatch: Positive
    temperature: Rate
    discount: Share
    gae_lambda: Share
    clip: Rate
    value_clip: Rate
    kl_coefficient: Annotated[float, Field(ge=0)]
    kl_target: Rate
    kl_gain: Annotated[float, Field(ge=0)]
    length_gain: Annotated[float, Field(ge=0)]
    value_rollouts: Positive
    unfinished_penalty: Annotated[float, Field(ge=0)]
    policy_optimizer: Optimizer
    value_optimizer: Optimizer
    gradient_clip: Annotated[float, Field(ge=0)]
    precision: Precision
    rollouts_every: Positive

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
    prompts: Annotated[int, Field(ge=2)]  # one alone has no interval
    temperature: Rate
    matched_tokens: NonNegative
    bootstrap: Positive
