"""PPO from a reward model, with a KL penalty (Ziegler et al. 2019, section 2.2; Schulman et al. 2017).

Read `iterate` from top to bottom: sample responses, score them, charge the policy for its distance from the reference,
estimate advantages, and take several epochs of clipped steps on policy and value. Four networks: the policy and the
value are DeepSpeed engines; the reference and the reward model are frozen. Dropout is off everywhere: every network
stays in evaluation mode, so that the first ratio of a rollout is exactly one.

Several ranks share a rollout (networks.py). What follows is computed alike on each, but for the steps, of whose
minibatches the engine gives each rank its share.

Shapes: B responses of a rollout, N prompts there are, P tokens of a prompt, R of a response at most, S of both,
D numbers of a state.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import deepspeed
import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.alignment import mix
from jokbo.alignment.advantages import (
    advantages_and_returns,
    at_last,
    estimated,
    masked_mean,
    variance,
    whiten,
)
from jokbo.alignment.controllers import Controllers, earned, novelty
from jokbo.alignment.lengths import by_length
from jokbo.alignment.networks import Networks, collect, gathered, prepared, recomputed, share
from jokbo.alignment.rollouts import Experience
from jokbo.alignment.value import ValueLoss, fit_head
from jokbo.data.corpus.batches import sample_indices
from jokbo.models.causal import mean_one
from jokbo.sampling import (
    Rollout,
    response_log_probs,
    response_states,
)
from jokbo.training import engine, keeping, processes
from jokbo.training.job import Job
from jokbo.training.loop import check_weights, loop, restored, trained

if TYPE_CHECKING:
    from jokbo.params import Compute, Ppo

SHOWN = {"reward": "reward", "kl": "kl", "length": "response_length"}  # of a row, on the terminal


class PolicyLoss(nn.Module):
    """The clipped surrogate (Schulman et al. 2017, equation 7), a mean over the response tokens of the minibatch.

    `weights_BR` are zero off the responses and of mean 1 over the minibatch, so that the means of equal parts of it
    have the minibatch's as their mean. `texts`, if there are some, are what `mix.texts_of` gives: their loss is added,
    times `text_weight`.
    """

    def __init__(self, network: PreTrainedModel, settings: Ppo, prompt_tokens: int) -> None:
        super().__init__()
        self.network, self.prompt_tokens = network, prompt_tokens
        self.clip, self.temperature = settings.clip, settings.temperature
        self.text_weight = settings.pretraining_mix.coefficient if settings.pretraining_mix else 0.0

    def forward(
        self,
        tokens_BS: Tensor,
        weights_BR: Tensor,
        old_log_probs_BR: Tensor,
        advantages_BR: Tensor,
        **texts: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        new_BR = by_length(
            lambda rows: response_log_probs(self.network, rows, self.prompt_tokens, self.temperature),
            tokens_BS,
            weights_BR,
        )
        log_ratio_BR = (new_BR - old_log_probs_BR) * (weights_BR > 0)
        ratio_BR = log_ratio_BR.exp()
        clipped_BR = ratio_BR.clamp(1 - self.clip, 1 + self.clip)
        loss_BR = -torch.minimum(ratio_BR * advantages_BR, clipped_BR * advantages_BR)
        outside_BR = ((ratio_BR - 1).abs() > self.clip).float()
        loss = (loss_BR * weights_BR).mean()
        metrics = {
            "surrogate": loss.detach(),
            "clip_fraction": (outside_BR * weights_BR).mean().detach(),
            # a low-variance estimate of KL(old || new) that is never negative (Schulman 2020)
            "step_kl": ((ratio_BR - 1 - log_ratio_BR) * weights_BR).mean().detach(),
        }
        if texts:
            of_texts = mix.loss(self.network, texts)
            loss = loss + self.text_weight * of_texts
            metrics["texts"] = of_texts.detach()
        return loss, metrics


def align(
    networks: Networks,
    prompts_NP: Tensor,
    settings: Ppo,
    job: Job,
    record: Callable[[int, Experience], None] = lambda iteration, seen: None,
    texts_at: Callable[[int], mix.Texts] | None = None,
) -> list[dict[str, float]]:
    """Train policy and value in place; return the row of metrics of each iteration.

    `record` is called with every `rollouts_every`th iteration and what was seen in it, and with the last one.
    `texts_at` gives the pretraining text of each step of the policy (mix.texts_of) where `pretraining_mix` asks for it.

    Prompts, samples and minibatches of an iteration are functions of (seed, iteration) alone; samples of the number
    of ranks too, each of which draws its own. Raises as training.loop does, and InputError if ranks or micro-batches
    cannot share a minibatch.
    """
    prepared(networks)
    length = initialise_value(networks, prompts_NP, settings)
    engines = start(networks, prompts_NP.shape[1], settings, job.compute)
    state = restored(job, engines)
    kept = state.values
    controllers = Controllers.of(settings, kept.get("beta", settings.kl_coefficient), length)

    def one(iteration: int) -> dict[str, float]:
        check_weights(job.name, iteration - 1, engines)  # nobody can sample from what is not finite
        if state.history and is_far(state.history[-1], settings):
            raise Far
        inputs = inputs_at(iteration - 1, prompts_NP, settings, texts_at)
        state.trail.batch({"prompts": inputs.prompts_BP, "seed": inputs.seed})
        seen, row = iterate(networks, engines, controllers, inputs, settings)
        state.trail.loss(seen.forward())
        kept.update(beta=controllers.kl.beta)
        if iteration in recorded(settings, settings.iterations) or is_far(row, settings):
            record(iteration, seen)
        return row

    with recomputed(networks, job.compute, job.name), suppress(Far):
        loop(job, engines, state, settings.iterations, one, SHOWN)
    history = state.history
    if job.compute.zero_stage == 3:
        for each in engines.values():
            _make_whole(trained(each))
    return history


def _make_whole(objective: nn.Module) -> None:
    """Give this rank all of the weights back, of which each holds a part."""
    whole = keeping.whole(objective)
    for name, parameter in objective.named_parameters():
        parameter.data = whole[name]


class Far(Exception):
    """The policy is as far from the reference as it may go: PPO ends."""


def is_far(row: dict[str, float], settings: Ppo) -> bool:
    """Return whether this row of metrics is PPO's last, as the policy has gone too far in it."""
    return settings.stop_kl is not None and row["kl"] > settings.stop_kl


def recorded(settings: Ppo, done: int) -> list[int]:
    """Return the iterations whose rollouts are recorded, of so many that are done: every so many, and the last."""
    every = range(settings.rollouts_every, done + 1, settings.rollouts_every)
    return sorted({*every, done})


@dataclass(frozen=True)
class Inputs:
    """What an iteration goes by: functions of (seed, iteration) alone."""

    prompts_BP: Tensor
    seed: int  # of what is sampled and of the order of minibatches
    warming_up: bool = False  # whether the value alone learns
    texts_at: Callable[[int], mix.Texts] | None = None  # the pretraining text of each step in it


def inputs_at(
    iteration: int,
    prompts_NP: Tensor,
    settings: Ppo,
    texts_at: Callable[[int], mix.Texts] | None = None,
) -> Inputs:
    """Return the inputs of an iteration; the first is 0. `texts_at` counts all steps of the training."""
    indices = sample_indices(iteration, settings.rollout_batch, len(prompts_NP), settings.seed, "prompts")
    first = iteration * settings.epochs * (settings.rollout_batch // settings.minibatch)
    return Inputs(
        prompts_NP[torch.from_numpy(indices)],
        seed_of(settings, iteration),
        warming_up=iteration < settings.value_warmup,
        texts_at=texts_at and (lambda step: texts_at(first + step)),
    )


def seed_of(settings: Ppo, iteration: int) -> int:
    """Return the seed of what is drawn in an iteration; the first is 0."""
    return int(np.random.SeedSequence([settings.seed, iteration]).generate_state(1)[0])


def start(
    networks: Networks, prompt_tokens: int, settings: Ppo, compute: Compute
) -> dict[str, deepspeed.DeepSpeedEngine]:
    """Return the engines that train the policy and the value."""
    step = engine.StepSettings(settings.minibatch, settings.precision, settings.gradient_clip)
    policy = PolicyLoss(networks.policy, settings, prompt_tokens)
    value = ValueLoss(networks.value, settings.value_clip, prompt_tokens)
    return {
        "policy": engine.start(policy, step, settings.policy_optimizer, compute),
        "value": engine.start(value, step, settings.value_optimizer, compute),
    }


def initialise_value(networks: Networks, prompts_NP: Tensor, settings: Ppo) -> float:
    """Fit the value's head to what the policy's responses earn; return their mean length, tokens.

    It is done before anything moves, with the prompts that would come after the last iteration.
    """
    start, read = prompts_NP.shape[1], []
    for rollout in range(settings.value_rollouts):
        inputs = inputs_at(settings.iterations + rollout, prompts_NP, settings)
        seen = collect(networks, inputs.prompts_BP, inputs.seed, settings)
        mask_BR, lengths_B = seen.rollout.mask_BR, seen.rollout.lengths_B
        rewards_BR = at_last(earned(seen, settings), mask_BR)
        earned_BR = advantages_and_returns(
            rewards_BR, torch.zeros_like(rewards_BR), mask_BR, discount=settings.discount, gae_lambda=1.0
        )[1]
        with torch.no_grad(), processes.autocast(settings.precision):
            states = [
                response_states(networks.value, tokens_BS, start).float().cpu()
                for tokens_BS in share(seen.rollout.tokens_BS)
                .to(networks.value.device)
                .split(networks.micro_batch)
            ]
        read.append((gathered(torch.cat(states)), earned_BR, mask_BR, lengths_B.double()))
    states_BRD, earned_BR, mask_BR, lengths_B = (torch.cat(part) for part in zip(*read, strict=True))
    fit_head(networks.value, states_BRD, earned_BR, mask_BR)
    return lengths_B.mean().item()


def iterate(
    networks: Networks,
    engines: dict[str, deepspeed.DeepSpeedEngine],
    controllers: Controllers,
    inputs: Inputs,
    settings: Ppo,
) -> tuple[Experience, dict[str, float]]:
    """Do one iteration of PPO; return what was seen in it, and the numbers to log."""
    seen = collect(networks, inputs.prompts_BP, inputs.seed, settings)
    rollout, values_BR = seen.rollout, seen.values_BR
    mask_BR = rollout.mask_BR
    rewards_BR, length_weight = controllers.rewards(seen)
    advantages_BR, returns_BR = estimated(
        rewards_BR, values_BR, mask_BR, settings, warming_up=inputs.warming_up
    )
    explained = 1 - variance(returns_BR - values_BR, mask_BR) / variance(returns_BR, mask_BR)
    batches = {
        "policy": {"old_log_probs_BR": seen.old_BR, "advantages_BR": whiten(advantages_BR, mask_BR)},
        "value": {"old_values_BR": values_BR, "returns_BR": returns_BR},
    }
    if inputs.warming_up:
        del batches["policy"]
    means = update(engines, rollout, batches, inputs, settings)
    row = {
        "reward": seen.scores_B.mean().item(),
        "reward_std": seen.scores_B.std().item(),
        "kl": seen.kl_BR.sum(1).mean().item(),
        "kl_per_token": masked_mean(seen.kl_BR, mask_BR).item(),
        "beta": controllers.kl.beta,
        "entropy": masked_mean(seen.entropy_BR, mask_BR).item(),  # of what the tokens were drawn from, nats
        "novelty": novelty(rollout).mean().item(),
        "explained_variance": explained.item(),
        "response_length": rollout.lengths_B.double().mean().item(),
        "length_weight": length_weight,
        "ended": rollout.ended_B(networks.policy.config.eos_token_id).double().mean().item(),
        "policy_loss": means.get("policy_surrogate", 0.0),  # 0: that of a policy that stays as it is
        "value_loss": means["value_loss"],
        "clip_fraction": means.get("policy_clip_fraction", 0.0),
        "step_kl": means.get("policy_step_kl", 0.0),
    }
    if "policy_texts" in means:
        row["pretraining_loss"] = means["policy_texts"]
    if not inputs.warming_up:
        controllers.kl.update(row["kl"])
    return seen, row


def update(
    engines: dict[str, deepspeed.DeepSpeedEngine],
    rollout: Rollout,
    batches: dict[str, engine.Batch],
    inputs: Inputs,
    settings: Ppo,
) -> dict[str, float]:
    """Do the steps of an iteration; return the means over them of what each engine tells.

    `batches` has, for each engine that learns, what it alone reads of the rollout, a row a response.
    """
    steps: list[dict[str, float]] = []
    rng = torch.Generator().manual_seed(inputs.seed)
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(rollout.mask_BR), generator=rng).split(settings.minibatch):
            shared = {"tokens_BS": rollout.tokens_BS[rows], "weights_BR": mean_one(rollout.mask_BR[rows])}
            step = {}
            for name, own in batches.items():
                batch = shared | {key: value[rows] for key, value in own.items()}
                if name == "policy" and inputs.texts_at:
                    batch |= inputs.texts_at(len(steps))
                step |= {f"{name}_{key}": value for key, value in engine.update(engines[name], batch).items()}
            steps.append(step)
    return {key: sum(step[key] for step in steps) / len(steps) for key in steps[0]}
