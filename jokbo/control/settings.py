"""What stands in control/params.yaml, read and checked, and the settings that are compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from jokbo.params.base import Name, Positive, Rate, Section, Seed, Share, SizeOf
from jokbo.params.faults import explain
from jokbo.params.reading import read
from jokbo.runtime.errors import InputError

FILE = Path("control/params.yaml")
Coefficient = Annotated[float, Field(ge=0)]


class Task(Section):
    environment: Annotated[str, Field(min_length=1, max_length=200)]
    """Id of an environment of gymnasium, with a choice among a few actions."""
    steps: Positive
    """Number of steps of the environment that each run learns from, all copies of it together."""


class Unclipped(Section):
    kind: Literal["none"]
    """The ratio times the advantage, and nothing that holds the policy near the one before."""

    @property
    def label(self) -> str:
        return "no clipping or penalty"


class Clip(Section):
    kind: Literal["clip"]
    """The ratio counts only as far as it is near 1 (section 3, equation 7)."""
    epsilon: Annotated[float, Field(gt=0, lt=1)]
    """Largest distance of the ratio from 1 that still counts."""

    @property
    def label(self) -> str:
        return f"clipping, ε = {self.epsilon:g}"


class FixedKl(Section):
    kind: Literal["fixed_kl"]
    """The KL from the policy before costs a fixed price (section 4, equation 8)."""
    beta: Rate
    """Price of a nat of KL."""

    @property
    def label(self) -> str:
        return f"fixed KL, β = {self.beta:g}"


class AdaptiveKl(Section):
    kind: Literal["adaptive_kl"]
    """The KL costs a price that is moved so that the KL of an update stays near a target (section 4)."""
    target: Rate
    """KL of an update that the price is moved towards, d_targ, in nats."""
    beta: Rate
    """Price of a nat of KL in the first iteration."""

    @property
    def label(self) -> str:
        return f"adaptive KL, d_targ = {self.target:g}"


Surrogate = Annotated[Unclipped | Clip | FixedKl | AdaptiveKl, Field(discriminator="kind")]


class Ppo(Section):
    kind: Literal["ppo"]
    """PPO (Schulman et al. 2017, algorithm 1)."""
    environments: Positive
    """Number of copies of the environment that are stepped together: N actors."""
    horizon: Positive
    """Number of steps of each copy in an iteration: T."""
    epochs: Positive
    """Number of passes over the steps of an iteration: K."""
    minibatch: Annotated[int, Field(ge=2)]
    """Number of steps in an update: M; it must divide environments times horizon."""
    learning_rate: Rate
    """Step size of Adam."""
    discount: Share
    """Gamma: what a reward is worth one step earlier, 0 to 1."""
    gae_lambda: Share
    """Lambda of the advantage estimates (GAE), 0 to 1."""
    value_coefficient: Coefficient
    """Weight of the value's squared error: c1."""
    entropy_coefficient: Coefficient
    """Weight of the policy's entropy: c2; the paper has none where table 1 was measured."""
    surrogates: Annotated[list[Surrogate], Field(min_length=1)]
    """What holds the policy near the one before; each is a setting of its own (the rows of table 1)."""

    @model_validator(mode="after")
    def _whole_minibatches(self) -> Ppo:
        if self.environments * self.horizon % self.minibatch:
            steps = f"{self.environments} * {self.horizon}"
            raise ValueError(f"minibatch is {self.minibatch}: it must divide environments * horizon, {steps}")
        return self


class _ActorCritic(Section):
    workers: Positive
    """Number of actor-learners, each with a copy of the environment."""
    segment: Positive
    """Number of steps of a worker between two updates: t_max."""
    learning_rate: Rate
    """Step size of RMSProp at the start; it falls in a straight line to 0 at the last step."""
    decay: Annotated[float, Field(ge=0, lt=1)]
    """Share of RMSProp's moving average of squared gradients that is kept in an update: alpha."""
    epsilon: Rate
    """What RMSProp adds to that average below the root."""
    discount: Share
    """Gamma: what a reward is worth one step earlier, 0 to 1."""
    value_coefficient: Coefficient
    """Weight of the value's squared error."""
    entropy_coefficient: Coefficient
    """Weight of the policy's entropy: beta."""


class A2c(_ActorCritic):
    kind: Literal["a2c"]
    """A3C whose workers wait for each other: one update by the mean of their gradients."""


class A3c(_ActorCritic):
    kind: Literal["a3c"]
    """Workers that wait for nobody change one network (Mnih et al. 2016, algorithm S3)."""
    rest_steps: Positive
    """Number of steps of all workers together after which they come to rest for a checkpoint."""


Algorithm = Annotated[Ppo | A2c | A3c, Field(discriminator="kind")]


class ControlParams(Section):
    seeds: Annotated[list[Seed], Field(min_length=2)]
    """Seeds of each setting on each task; an interval needs two."""
    last_episodes: Positive
    """Number of last episodes of a training whose mean return is its result; the paper's is 100."""
    random_episodes: Annotated[int, Field(ge=2)]
    """Number of episodes by which a policy that chooses at random is measured: score 0."""
    hidden_sizes: Annotated[list[SizeOf], Field(min_length=1, max_length=10)]
    """Sizes of the hidden layers of policy and value, which share none."""
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    """Tasks by name."""
    algorithms: Annotated[dict[Name, Algorithm], Field(min_length=1)]
    """Algorithms by name; `kind` is the file in jokbo/control."""

    @model_validator(mode="after")
    def _told_apart(self) -> ControlParams:
        if len({*self.seeds}) < len(self.seeds):
            raise ValueError("seeds has a seed twice: name it once")
        names = [setting.name for setting in self.settings()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"algorithms has {name} twice: leave one out")
        return self

    def settings(self) -> Iterator[Setting]:
        """Yield each row of the table: each algorithm, PPO once for each of its surrogates."""
        for name, own in self.algorithms.items():
            for surrogate in own.surrogates if isinstance(own, Ppo) else [None]:
                yield Setting(name, own, surrogate)


@dataclass(frozen=True)
class Setting:
    """An algorithm as one row of the table has it."""

    algorithm: str  # its name in control/params.yaml
    own: Ppo | A2c | A3c
    surrogate: Unclipped | Clip | FixedKl | AdaptiveKl | None  # of PPO alone

    @property
    def name(self) -> str:
        return f"{self.algorithm}: {self.surrogate.label}" if self.surrogate else self.algorithm


def load(path: Path = FILE) -> ControlParams:
    """Return what the file holds. InputError, one line with file and key, if anything is wrong."""
    tree = read(path, f"it must hold what {FILE} of git does")
    try:
        return ControlParams.model_validate(tree)
    except ValidationError as error:
        # a misspelt key is both unknown and missing: the unknown one is what the user typed
        faults = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
        raise InputError(f"{path}: {explain(faults[0], ControlParams, tree, tree)}") from error
