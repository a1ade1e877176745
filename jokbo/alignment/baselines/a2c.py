"""A2C: actor and critic take one step each on every batch, which all of them wait for (Mnih et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jokbo.alignment.advantages import variance
from jokbo.alignment.baselines.actor_critic import batches, critic_loss
from jokbo.alignment.baselines.common import (
    Given,
    Made,
    Plan,
    PolicyGradient,
    Rolled,
    begun,
    iterated,
    of_network,
    steps,
)
from jokbo.alignment.ppo import initialise_value
from jokbo.training import engine

if TYPE_CHECKING:
    from jokbo.params import ActorCritic
    from jokbo.training.loop import Row


def made(given: Given, own: ActorCritic) -> Made:
    """Return what came of A2C. The value's head is fitted first, as PPO's is, from samples that count."""
    clock = begun(given)
    settings, networks, prompt_tokens = given.settings, given.networks, given.prompts_NP.shape[1]
    length = initialise_value(networks, given.prompts_NP, settings)
    step = engine.StepSettings(own.batch, settings.precision, settings.gradient_clip)
    actor = PolicyGradient(networks.policy, settings.temperature, prompt_tokens)
    compute = given.job.compute
    engines = {
        "policy": engine.start(actor, step, own.policy_optimizer, compute),
        "value": engine.start(critic_loss(networks.value, prompt_tokens), step, own.value_optimizer, compute),
    }

    def learn(rolled: Rolled) -> Row:
        found = batches(rolled.seen, rolled.rewards_BR, settings.discount, own.gae_lambda)
        told = {name: steps(engines[name], batch, own.batch) for name, batch in found.items()}
        mask_BR, returns_BR = rolled.seen.rollout.mask_BR, found["value"]["returns_BR"]
        explained = 1 - variance(returns_BR - rolled.seen.values_BR, mask_BR) / variance(returns_BR, mask_BR)
        return {
            "policy_loss": told["policy"]["loss"],
            "value_loss": told["value"]["loss"],
            "explained_variance": explained.item(),
        }

    plan = Plan(own.batch, valued=True, spent=settings.value_rollouts * settings.rollout_batch)
    return of_network(given, iterated(given, plan, engines, learn, clock, length))
