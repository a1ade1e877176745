"""alignment/params.yaml: the baselines that PPO is compared with, and what each has of its own.

What they share with PPO they read from the chain's params.yaml: what is sampled, how it is scored, and what it costs to
leave the supervised policy (`align`), and how held-out responses are sampled and judged (`evaluate`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from jokbo.params.alignment import Ppo
from jokbo.params.base import Name, Positive, Rate, Section, Share
from jokbo.params.chain import Compute, Evaluate
from jokbo.params.training import Optimizer

Several = Annotated[int, Field(ge=2, lt=2**53)]


class PpoItself(Section):
    kind: Literal["ppo"]
    """ppo: PPO as `align` of ../params.yaml has it."""


class BestOfN(Section):
    kind: Literal["best_of_n"]
    """best_of_n: nothing is trained; of several responses of the supervised policy the best is taken."""
    responses_per_prompt: Positive
    """Number of responses among which the reward model chooses; 1: the supervised policy itself."""


class Reinforce(Section):
    kind: Literal["reinforce"]
    """reinforce: the log-probability of a response, times how much more it earned than a baseline (Williams 1992)."""
    batch: Several
    """Number of responses of an iteration, which is one optimizer step."""
    responses_per_prompt: Positive
    """Number of responses to a prompt; it must divide batch."""
    baseline: Literal["leave_one_out", "moving_average"]
    """leave_one_out: the mean of the other responses to the prompt (RLOO); moving_average: that of iterations past."""
    decay: Share
    """Share of the moving average that an iteration leaves, 0 to 1; not read with leave_one_out."""
    optimizer: Optimizer
    """Optimizer of the policy."""

    @model_validator(mode="after")
    def has_others(self) -> Reinforce:
        check_groups(self.batch, self.responses_per_prompt, "batch")
        if self.baseline == "leave_one_out" and self.responses_per_prompt == 1:
            raise ValueError(
                "responses_per_prompt is 1, but baseline is leave_one_out, the mean of the others: raise it, or set "
                "baseline to moving_average"
            )
        return self


class Grpo(Section):
    kind: Literal["grpo"]
    """grpo: PPO's clipped steps, by how a response compares with others to its prompt (Shao et al. 2024)."""
    responses_per_prompt: Several
    """Number of responses to a prompt; it must divide align.rollout_batch."""
    corrected: bool
    """Whether nothing is divided by the group's deviation or by a response's length (Dr. GRPO), true or false."""


class ActorCritic(Section):
    kind: Literal["a2c"]
    """a2c: advantage actor-critic, all of a batch at once (Mnih et al. 2016)."""
    batch: Several
    """Number of responses of an iteration, which is one optimizer step of policy and value."""
    gae_lambda: Share
    """Lambda of the advantage estimates, 0 to 1; 1: what was earned less the value, as in the paper."""
    policy_optimizer: Optimizer
    """Optimizer of the policy."""
    value_optimizer: Optimizer
    """Optimizer of the value network."""


class Asynchronous(Section):
    kind: Literal["a3c"]
    """a3c: the same by workers that wait for nobody (Mnih et al. 2016, algorithm S3)."""
    workers: Positive
    """Number of processes, each with networks of its own, that change the shared ones."""
    batch: Several
    """Number of responses of a worker's update."""
    gae_lambda: Share
    """Lambda of the advantage estimates, 0 to 1; 1: what was earned less the value, as in the paper."""
    policy_rate: Rate
    """Learning rate of the policy, by RMSProp whose moments all workers share."""
    value_rate: Rate
    """Learning rate of the value network."""
    decay: Share
    """Alpha of RMSProp: share of the squares' mean that an update leaves, 0 to 1."""


class DirectOptimisation(Section):
    kind: Literal["dpo"]
    """dpo: DPO on pairs of responses to one prompt, of which the reward model prefers one (Rafailov et al. 2023)."""
    online: bool
    """Whether the policy that learns says the pairs, or the supervised policy all of them, true or false."""
    length_normalised: bool
    """Whether log-probabilities are divided by the number of tokens, true or false."""
    beta: Rate
    """Beta: how dear it is to leave the supervised policy."""
    optimizer: Optimizer
    """Optimizer of the policy."""


Baseline = Annotated[
    PpoItself | BestOfN | Reinforce | Grpo | ActorCritic | Asynchronous | DirectOptimisation,
    Field(discriminator="kind"),
]


class Alignment(Section):
    samples: Positive | None
    """Number of responses that each baseline learns from; null: as many as PPO."""
    baselines: Annotated[dict[Name, Baseline], Field(min_length=1)]
    """The rows of the table by name, PPO among them; `kind` is the file in jokbo/alignment/baselines."""
    ppo: Ppo
    """`align` of the chain's params.yaml: PPO, and what the baselines share with it."""
    evaluate: Evaluate
    """`evaluate` of the chain's params.yaml: held-out prompts, and who judges."""

    @property
    def seed(self) -> int:
        return self.ppo.seed

    @property
    def sampled(self) -> int:
        """The number of responses that a baseline learns from."""
        return self.samples or of_ppo(self.ppo)

    @model_validator(mode="after")
    def fits(self) -> Alignment:
        for name, own in self.baselines.items():
            self._check(f"alignment.baselines.{name}", own)
        if self.ppo.method.kind != "full":
            raise ValueError(
                f"align.method.kind is {self.ppo.method.kind} in ../params.yaml, but baselines train all weights: set "
                "it to full there"
            )
        if self.ppo.pretraining_mix:
            raise ValueError(
                "align.pretraining_mix is set in ../params.yaml, but baselines learn no pretraining text: set it to "
                "null there"
            )
        return self

    def _check(self, key: str, own: Baseline) -> None:
        """Refuse what does not fit the rollouts and the clipping of PPO."""
        whole, of = (self.ppo.rollout_batch, "align.rollout_batch")
        try:
            for field in ("optimizer", "policy_optimizer", "value_optimizer"):
                if optimizer := getattr(own, field, None):
                    optimizer.check_clip(self.ppo.gradient_clip)
            if isinstance(own, Grpo):
                check_groups(whole, own.responses_per_prompt, of)
            if isinstance(own, DirectOptimisation) and (whole % 2 or self.ppo.minibatch % 2):
                raise ValueError(
                    "align.rollout_batch and align.minibatch must be even, as DPO learns of pairs"
                )
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        if isinstance(own, PpoItself | BestOfN):
            return
        needed = getattr(own, "batch", whole)
        if isinstance(own, ActorCritic | Asynchronous):
            needed += whole * self.ppo.value_rollouts
        if self.sampled < needed:
            raise ValueError(
                f"alignment.samples is {self.sampled}: {key} takes {needed} for its first update; raise it"
            )


class AlignmentParams(Section):
    """The sections of alignment/params.yaml, and how everything is computed, from the chain's params.yaml."""

    FILE: ClassVar[str] = "alignment/params.yaml"

    compute: Compute
    """How stages run; of the chain's params.yaml."""
    alignment: Alignment
    """PPO and its baselines, compared at equal samples and equal time."""


def of_ppo(settings: Ppo) -> int:
    """Return how many responses PPO samples: those that its value's head is fitted to, and those of its iterations."""
    return settings.rollout_batch * (settings.value_rollouts + settings.iterations)


def check_groups(batch: int, each: int, key: str) -> None:
    """Refuse a number of responses to a prompt that does not divide the batch."""
    if batch % each:
        raise ValueError(f"responses_per_prompt is {each}: it must divide {key}, which is {batch}")
