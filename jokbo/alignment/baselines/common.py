"""What PPO and its baselines have in common, so that one table can compare them.

All sample by `networks.collect`, from the supervised policy on, and earn the same: the reward model's score, less the
price of KL, and what length earns (`Controllers.rewards`). All see so many samples. What time that took is counted
iteration by iteration. In the end each responds to the same held-out prompts.

A baseline is a file of this folder with a function `made(given, own)`, as `Baseline` asks for; `own` is its class in
jokbo/params/baselines.py.

Shapes: B responses of an iteration, N prompts there are, P tokens of a prompt, R of a response at most, S of both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.alignment.advantages import masked_mean
from jokbo.alignment.controllers import Controllers, novelty
from jokbo.alignment.networks import Networks, collect, prepared, recomputed
from jokbo.alignment.ppo import SHOWN, seed_of
from jokbo.data.corpus.batches import sample_indices
from jokbo.runtime.files import read_if_there, write_text
from jokbo.sampling import response_log_probs
from jokbo.training import engine
from jokbo.training.loop import Engines, Row, check_weights, loop, restored

if TYPE_CHECKING:
    from jokbo.alignment.rollouts import Experience
    from jokbo.params import Ppo
    from jokbo.sampling import Rollout
    from jokbo.training.job import Job


@dataclass(frozen=True)
class HeldOut:
    """What every policy is asked in the end, and how its responses are sampled and scored."""

    prompts_NP: Tensor
    settings: Ppo
    seed: int


@dataclass(frozen=True)
class Given:
    """What every baseline is given. It trains the networks in place, and reads the value only if it has one."""

    networks: Networks
    prompts_NP: Tensor
    settings: Ppo
    samples: int  # responses that it may sample to learn from
    held_out: HeldOut
    job: Job


@dataclass(frozen=True)
class Responses:
    """Responses to the held-out prompts."""

    rollout: Rollout
    rewards_B: Tensor
    kl_B: Tensor  # from the supervised policy, nats a response: log ratios, of which the mean is an estimate


class Made(NamedTuple):
    """What came of a baseline."""

    history: list[
        Row
    ]  # a row an iteration, `samples` and `seconds` that it took until then among its columns
    policy: PreTrainedModel | None  # None: what responds is no network
    responses: Responses


class Baseline(Protocol):
    """A file of this folder."""

    def made(self, given: Given, own: Any) -> Made: ...


@dataclass(frozen=True)
class Plan:
    """How a baseline samples."""

    batch: int  # responses of an iteration
    responses_per_prompt: int = 1
    valued: bool = False  # whether the value network is asked
    spent: int = 0  # samples that were taken before the first iteration

    def iterations(self, samples: int) -> int:
        return (samples - self.spent) // self.batch


@dataclass(frozen=True)
class Rolled:
    """The rollout of an iteration; responses to one prompt stand next to each other."""

    seen: Experience
    rewards_BR: Tensor
    seed: int  # of the order of minibatches
    kept: dict[str, Any]  # what a checkpoint holds beside the engines


class Clock:
    """The seconds that a training has taken until the end of each iteration, over stops too, in a file.

    What a kill has lost is not counted.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seconds.json"
        self.seconds: list[float] = read_if_there(self.file) or []
        self.began = time.monotonic()

    def done(self, iteration: int) -> None:
        """Note the end of an iteration; the first is 1. One that is done again counts once."""
        before, now = self.seconds[: iteration - 1], time.monotonic()
        self.seconds = [*before, (before[-1] if before else 0.0) + now - self.began]
        self.began = now
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.file, json.dumps(self.seconds))

    def beside(self, history: list[Row], plan: Plan) -> list[Row]:
        """Return the rows with `samples` and `seconds` until the end of each."""
        return [
            {**row, "samples": plan.spent + (number + 1) * plan.batch, "seconds": round(seconds, 3)}
            for number, (row, seconds) in enumerate(zip(history, self.seconds, strict=True))
        ]


def begun(given: Given) -> Clock:
    """Prepare the networks; return the clock, which runs from here on for every baseline."""
    prepared(given.networks)
    return Clock(given.job.folder)


def iterated(
    given: Given,
    plan: Plan,
    engines: Engines,
    learn: Callable[[Rolled], Row],
    clock: Clock,
    length: float | None = None,
) -> list[Row]:
    """Sample, score and `learn` until the samples are spent; return a row an iteration.

    `length` is what responses are drawn to, tokens; None: the mean of the first iteration, in which the policy is still
    the supervised one. Prompts, samples and minibatches are functions of (seed, iteration) alone. Raises as
    training.loop does.
    """
    settings, job = given.settings, given.job
    state = restored(job, engines)
    kept = state.values
    if length is not None:
        kept["length"] = length

    def one(iteration: int) -> Row:
        check_weights(job.name, iteration - 1, engines)
        seen, seed = rolled(given, plan, iteration)
        state.trail.batch({"prompts": seen.rollout.tokens_BS[:, : seen.rollout.prompt_tokens], "seed": seed})
        state.trail.loss(seen.forward())
        kept.setdefault("length", seen.rollout.lengths_B.double().mean().item())
        controllers = Controllers.of(settings, kept.get("beta", settings.kl_coefficient), kept["length"])
        rewards_BR, weight = controllers.rewards(seen)
        row = summary(seen, controllers, weight) | learn(Rolled(seen, rewards_BR, seed, kept))
        controllers.kl.update(row["kl"])
        kept["beta"] = controllers.kl.beta
        clock.done(iteration)
        return row

    with recomputed(given.networks, job.compute, job.name):
        history = loop(job, engines, state, plan.iterations(given.samples), one, SHOWN)
    return clock.beside(history, plan)


def rolled(given: Given, plan: Plan, iteration: int) -> tuple[Experience, int]:
    """Return the rollout of an iteration, and a seed for what is done with it; the first is 1."""
    settings, each = given.settings, plan.responses_per_prompt
    rows = sample_indices(iteration - 1, plan.batch // each, len(given.prompts_NP), settings.seed, "prompts")
    prompts_BP = given.prompts_NP[torch.from_numpy(rows)].repeat_interleave(each, dim=0)
    seed = seed_of(settings, iteration - 1)
    return collect(given.networks, prompts_BP, seed, settings, valued=plan.valued), seed


class PolicyGradient(nn.Module):
    """Minus the advantage of each token times its log-probability, summed over a response, a mean over responses.

    Advantages [B, 1] are of whole responses: the same for all tokens of one. Its gradient is minus an estimate of that
    of what a response earns; its value means nothing.
    """

    def __init__(self, network: PreTrainedModel, temperature: float, prompt_tokens: int) -> None:
        super().__init__()
        self.network, self.temperature, self.prompt_tokens = network, temperature, prompt_tokens

    def forward(
        self, tokens_BS: Tensor, mask_BR: Tensor, advantages_BR: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        log_probs_BR = response_log_probs(self.network, tokens_BS, self.prompt_tokens, self.temperature)
        # masked first: padding has the least log-probability that there is, and twice that would be infinite
        return -(advantages_BR * (log_probs_BR * mask_BR)).sum(1).mean(), {}


def summary(seen: Experience, controllers: Controllers, length_weight: float) -> Row:
    """Return what is logged of every rollout, in the words of PPO's."""
    mask_BR = seen.rollout.mask_BR
    return {
        "reward": seen.scores_B.mean().item(),
        "reward_std": seen.scores_B.std().item(),
        "kl": seen.kl_BR.sum(1).mean().item(),
        "kl_per_token": masked_mean(seen.kl_BR, mask_BR).item(),
        "beta": controllers.kl.beta,
        "entropy": masked_mean(seen.entropy_BR, mask_BR).item(),
        "novelty": novelty(seen.rollout).mean().item(),
        "response_length": seen.rollout.lengths_B.double().mean().item(),
        "length_weight": length_weight,
    }


def steps(
    learning: Any, batch: Mapping[str, Tensor], size: int, epochs: int = 1, seed: int = 0
) -> dict[str, float]:
    """Train an engine on the rows of a batch, `size` of them a step, each epoch in an order of its own.

    Return the means of what it tells.
    """
    rng, told = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        for rows in torch.randperm(len(next(iter(batch.values()))), generator=rng).split(size):
            told.append(engine.update(learning, {name: value[rows] for name, value in batch.items()}))
    return {key: sum(each[key] for each in told) / len(told) for key in told[0]}


def respond(given: Given, times: int = 1) -> Responses:
    """Return what the policy says to the held-out prompts, `times` to each, those to one prompt next to each other."""
    held_out = given.held_out
    prompts_BP = held_out.prompts_NP.repeat_interleave(times, dim=0)
    seen = collect(given.networks, prompts_BP, held_out.seed, held_out.settings, valued=False)
    return Responses(seen.rollout, seen.scores_B, seen.kl_BR.sum(1))


def of_network(given: Given, history: list[Row]) -> Made:
    """Return what came of a baseline that trains the policy."""
    return Made(history, given.networks.policy, respond(given))


def chosen(responses: Responses, rows_N: Tensor, kl: float) -> Responses:
    """Return some of the responses, at a KL that is known."""
    rollout = replace(
        responses.rollout,
        tokens_BS=responses.rollout.tokens_BS[rows_N],
        mask_BR=responses.rollout.mask_BR[rows_N],
    )
    return Responses(rollout, responses.rewards_B[rows_N], torch.full((len(rows_N),), kl))
