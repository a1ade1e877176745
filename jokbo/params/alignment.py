"""The section `align`: how the policy learns what is preferred, and from what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jokbo.params.base import NonNegative, Positive, Precision, Rate, Section, Seed, Share
from jokbo.params.keep import LAST, Keep, KeepBest
from jokbo.params.labels import HARD, Labels
from jokbo.params.method import FULL, Method
from jokbo.params.training import Optimizer, PairTraining, check_dropout


class PretrainingMix(Section):
    coefficient: Rate
    """Gamma: the weight of the mean loss on the text, nats a token, beside PPO's (PPO-ptx)."""
    sequences: Positive
    """Number of sequences of text for each response of a minibatch."""
    packing: Literal["joined", "masked", "padded"]
    """How documents fill sequences: joined, masked or padded, as in pretrain.packing."""


class Ppo(Section):
    kind: Literal["ppo"]
    """ppo: the policy learns what the reward model likes; dpo: it learns the pairs themselves."""
    seed: Seed
    """Seed of prompts, sampled responses and minibatches."""
    prompts_per_text: Positive
    """Most prompts of a text that it responds to, up to prompts.prompts_per_text."""
    iterations: Positive
    """Number of iterations, each a rollout and its epochs."""
    rollout_batch: Annotated[int, Field(ge=2)]
    """Number of prompts of an iteration, with one response each."""
    epochs: Positive
    """Number of passes over a rollout."""
    minibatch: Positive
    """Number of responses of an optimizer step; it must divide rollout_batch."""
    temperature: Rate
    """Sampling temperature."""
    discount: Share
    """Gamma: what a reward is worth one token earlier, 0 to 1."""
    gae_lambda: Share | None
    """Lambda of the advantage estimates (GAE), 0 to 1; null where gae_alpha is given."""
    gae_alpha: Rate | None
    """Alpha of a lambda for each response, 1 - 1 / (alpha * length) but 0 at least; null where gae_lambda is given.

    The length is in tokens. The lambda is of the advantages, and of the value's targets if value_lambda is null.
    """
    value_lambda: Share | None
    """Lambda of the targets that the value learns, 0 to 1; null: that of the advantages."""
    clip: Rate
    """Largest distance of the policy's ratio from 1 that still counts."""
    value_clip: Rate
    """Largest distance of the value from the one at sampling that still counts."""
    kl_coefficient: Annotated[float, Field(ge=0)]
    """Beta at the start: the price of KL, in reward a nat."""
    kl_target: Rate
    """KL that beta is steered to, in nats a response."""
    kl_gain: Annotated[float, Field(ge=0)]
    """Gain of the controller that moves beta; 0: beta stays."""
    stop_kl: Rate | None = None
    """KL, nats a response, above which PPO ends after the iteration that shows it; not given or null: it never does."""
    length_gain: Annotated[float, Field(ge=0)]
    """Gain of the reward that holds responses as long as the supervised policy's; 0: none."""
    value_layers: Positive | None = None
    """Number of the reward model's layers that the value network has, evenly spaced ones; not given or null: all."""
    value_rollouts: Positive
    """Number of rollouts to which the value head is fitted before the first iteration."""
    value_warmup: NonNegative
    """Number of iterations, the first ones, in which only the value learns, from targets with lambda 1."""
    unfinished_penalty: Annotated[float, Field(ge=0)]
    """Reward that a response without an end of text loses."""
    reward_centre: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Score from which on more earns little: a response earns log sigmoid(score - it); not given or null: its score."""
    novelty: Annotated[float, Field(ge=0)] = 0.0
    """Reward of a response whose pairs of tokens no other of the rollout has, less for others; not given or 0: none."""
    disagreement_cost: Annotated[float, Field(ge=0)] = 0.0
    """Reward that a response loses for each deviation among reward.members; not given or 0: none."""
    pretraining_mix: PretrainingMix | None
    """The base model's pretraining text, which the policy learns beside PPO; null: none."""
    policy_optimizer: Optimizer
    """Optimizer of the policy."""
    value_optimizer: Optimizer
    """Optimizer of the value network."""
    gradient_clip: Annotated[float, Field(ge=0)]
    """Largest norm of the gradient; 0: it is not clipped."""
    precision: Precision
    """fp32, or bf16 autocast."""
    rollouts_every: Positive
    """Number of iterations from one recorded rollout (data/rollouts) to the next.

    The last rollout is always recorded.
    """
    method: Method = FULL
    """Which weights learn; not given: all. `kind` is full, lora or qlora."""
    keep: Keep = LAST
    """Which weights it ends with: the last, as nothing but its own reward could tell better ones; not given: last."""

    @model_validator(mode="after")
    def keeps_the_last(self) -> Ppo:
        if isinstance(self.keep, KeepBest):
            raise ValueError(
                "keep.kind is best, but PPO has no validation loss, and its own reward is what it overdoes: set it to "
                "last, and lower iterations or raise kl_coefficient where it goes too far"
            )
        return self

    @model_validator(mode="after")
    def has_one_lambda(self) -> Ppo:
        if (self.gae_lambda is None) == (self.gae_alpha is None):
            found = "both null" if self.gae_lambda is None else f"{self.gae_lambda} and {self.gae_alpha}"
            raise ValueError(
                f"gae_lambda and gae_alpha are {found}: the first is one lambda for all responses, the second "
                "makes one for each: give one, and make the other null"
            )
        return self

    @model_validator(mode="after")
    def whole_minibatches(self) -> Ppo:
        self.policy_optimizer.check_method(self.method)
        self.value_optimizer.check_method(self.method)
        check_dropout(self.method, "PPO trains")
        if self.value_layers is not None and self.method.kind != "full":
            raise ValueError(
                f"value_layers is {self.value_layers}, but method.kind is {self.method.kind}, whose networks share one "
                "trunk: leave value_layers out, or set method.kind to full"
            )
        self.policy_optimizer.check_clip(self.gradient_clip)
        self.value_optimizer.check_clip(self.gradient_clip)
        if self.rollout_batch % self.minibatch:
            raise ValueError(
                f"minibatch is {self.minibatch}: it must divide rollout_batch, which is {self.rollout_batch}"
            )
        if self.value_warmup >= self.iterations:
            found = f"value_warmup is {self.value_warmup}"
            raise ValueError(
                f"{found}: it must be below iterations, {self.iterations}, or the policy learns nothing"
            )
        return self


class Dpo(Section):
    kind: Literal["dpo"]
    """dpo: the policy learns the pairs themselves (Rafailov et al. 2023)."""
    seed: Seed
    """Seed of the order of pairs."""
    beta: Rate
    """Beta: how dear it is to leave the supervised policy."""
    labels: Labels = HARD
    """What it learns of a pair; not given: who was chosen. `kind` is hard or soft."""
    training: PairTraining
    """How it is trained; the batch counts pairs."""

    @model_validator(mode="after")
    def no_dropout(self) -> Dpo:
        check_dropout(self.training.method, "DPO trains")
        return self
