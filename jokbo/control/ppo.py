"""PPO: several epochs on the same steps, by a surrogate that holds the policy near the one that took them.

Schulman et al. 2017, algorithm 1. Each iteration N copies take T steps; K epochs of Adam on minibatches of M follow.

Settings (control/params.yaml, kind ppo)
    environments, horizon  N copies, T steps of each in an iteration
    epochs, minibatch      K passes over these, in shuffled minibatches of M steps
    learning_rate          of Adam
    discount, gae_lambda   gamma and lambda of the advantages (equations 11 and 12)
    value_coefficient      c1 of equation 9: weight of the value's squared error
    entropy_coefficient    c2 of equation 9: weight of the policy's entropy
    surrogates             what is maximised, each a setting of its own:
        none               the ratio times the advantage (equation 6)
        clip               the least of that, and of that with the ratio held within epsilon of 1 (equation 7)
        fixed_kl           less beta times the KL from the policy before (equation 8)
        adaptive_kl        the same; beta is halved after an iteration whose KL is below target / 1.5, and doubled after
                           one whose KL is above target * 1.5 (section 4)

Advantages are normalised over the steps of an iteration, as in OpenAI's baselines; the paper does not say so.

Measures (of the learning curve, means between two points)
    surrogate            what is maximised, the mean of its minibatches
    value_loss           squared error of the value
    entropy              of the policy, in nats
    kl                   of the policy before from that after an iteration, in nats
    clipped              share of steps whose ratio is further than 0.2 from 1 after an iteration
    beta                 price of a nat of KL; 0 where none is asked
    explained            share of the returns' variance that the value had foreseen

Shapes: as in rollouts.py; M steps of a minibatch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from jokbo.control.environments import MINIBATCHES, Environments, rng_of
from jokbo.control.job import Job, Outcome, Saving, check_finite
from jokbo.control.network import Network, flattened, gradient
from jokbo.control.rollouts import Rollout, advantages, collect
from jokbo.control.settings import AdaptiveKl, Clip, FixedKl, Ppo, Unclipped

SHOWN_CLIP = 0.2  # of the measure `clipped`, for all surrogates alike
NEAR = 1.5  # how far from its target a KL may be before beta is moved


class Batch(NamedTuple):
    """What an iteration, or a minibatch of it, learns from."""

    seen_BO: Tensor
    actions_B1: Tensor
    old_log_probs_BA: Tensor
    advantages_B: Tensor
    returns_B: Tensor

    def part(self, rows: Tensor) -> Batch:
        return Batch(*(each[rows] for each in self))


def trained(job: Job) -> Outcome:
    """Return what came of PPO; from the checkpoint on, if there is one, and then the same."""
    own, kind = job.setting.own, job.setting.surrogate
    assert isinstance(own, Ppo)
    assert kind is not None
    environments = Environments(job.where.environment, job.seed, range(own.environments))
    network = job.network(environments.seen_NO.shape[1], environments.actions)
    weights = flattened(network)
    optimizer = torch.optim.Adam([weights], own.learning_rate, fused=True)
    beta, iteration = kind.beta if isinstance(kind, FixedKl | AdaptiveKl) else 0.0, 0
    record, kept = job.restored()
    if kept:
        weights.copy_(kept["weights"])
        optimizer.load_state_dict(kept["optimizer"])
        environments.restore(kept["environments"])
        beta, iteration = kept["beta"], kept["iteration"]
    saving, factors_3 = Saving(job), torch.tensor([1.0, -own.value_coefficient, own.entropy_coefficient])
    while record.steps < job.where.steps:
        rollout = collect(network, environments, own.horizon, iteration)
        batch, explained = learned_from(network, rollout, own)
        sums, count = torch.zeros(3), 0
        for rows in minibatches(len(batch.seen_BO), own, job.seed, iteration):
            parts_3 = objective(network, batch.part(rows), kind, beta)
            weights.grad = gradient(network, -(factors_3 * parts_3).sum())
            optimizer.step()
            sums, count = sums + parts_3.detach(), count + 1
        check_finite(job, weights)
        measures = {**dict(zip(("surrogate", "value_loss", "entropy"), (sums / count).tolist(), strict=True))}
        measures |= {**moved(network, batch), "beta": beta, "explained": explained}
        beta, iteration = next_beta(kind, beta, measures["kl"]), iteration + 1
        ended = [(record.steps + step * own.environments, earned) for step, earned in rollout.episodes]
        record.add(own.horizon * own.environments, ended, measures)
        if saving.due():
            state = {"weights": weights, "optimizer": optimizer.state_dict(), "beta": beta}
            job.save(record, {**state, "iteration": iteration, "environments": environments.state()})
    return Outcome(record, weights)


def learned_from(network: Network, rollout: Rollout, own: Ppo) -> tuple[Batch, float]:
    """Return the batch of an iteration, and how much of the returns' variance the value had foreseen."""
    seen_BO = rollout.seen()
    with torch.no_grad():
        log_probs_BA, values_B = network(seen_BO)
    values_TN = values_B.numpy().reshape(rollout.rewards_TN.shape)
    decay = (own.discount, own.gae_lambda)
    found_TN = advantages(rollout, values_TN, rollout.values_after(network), decay)
    advantages_B = torch.from_numpy(found_TN.reshape(-1))
    returns_B = advantages_B + values_B
    explained = 1 - (advantages_B.var() / returns_B.var().clamp(min=1e-8)).item()
    normal_B = (advantages_B - advantages_B.mean()) / (advantages_B.std() + 1e-8)
    return Batch(seen_BO, rollout.actions(), log_probs_BA, normal_B, returns_B), explained


def minibatches(count: int, own: Ppo, seed: int, iteration: int) -> Iterator[Tensor]:
    """Yield the rows of each minibatch [M] of an iteration: a function of (seed, iteration)."""
    rng = rng_of(MINIBATCHES, seed, 0, iteration)
    for _ in range(own.epochs):
        yield from torch.from_numpy(rng.permutation(count)).split(own.minibatch)


def objective(
    network: Network, batch: Batch, kind: Unclipped | Clip | FixedKl | AdaptiveKl, beta: float
) -> Tensor:
    """Return the means over a minibatch of surrogate, value's squared error and entropy, [3]."""
    log_probs_MA, values_M = network(batch.seen_BO)
    value = (values_M - batch.returns_B).square().mean()
    entropy = -(log_probs_MA.exp() * log_probs_MA).sum(1).mean()
    return torch.stack([surrogate(log_probs_MA, batch, kind, beta), value, entropy])


def surrogate(
    log_probs_MA: Tensor, batch: Batch, kind: Unclipped | Clip | FixedKl | AdaptiveKl, beta: float
) -> Tensor:
    """Return what is maximised of the policy, the mean over a minibatch (equations 6, 7 and 8)."""
    ratio_M = ratios(log_probs_MA, batch)
    gained_M = ratio_M * batch.advantages_B
    if isinstance(kind, Clip):
        clipped_M = ratio_M.clamp(1 - kind.epsilon, 1 + kind.epsilon)
        return torch.minimum(gained_M, clipped_M * batch.advantages_B).mean()
    if isinstance(kind, Unclipped):
        return gained_M.mean()
    return (gained_M - beta * kl(batch.old_log_probs_BA, log_probs_MA)).mean()


def ratios(log_probs_MA: Tensor, batch: Batch) -> Tensor:
    """Return how much more probable each action is than it was, [M]."""
    difference_MA = log_probs_MA - batch.old_log_probs_BA
    return difference_MA.gather(1, batch.actions_B1).squeeze(1).exp()


def kl(old_MA: Tensor, new_MA: Tensor) -> Tensor:
    """Return the KL of the policy before from the new one, in nats, [M]."""
    return (old_MA.exp() * (old_MA - new_MA)).sum(1)


def next_beta(kind: Unclipped | Clip | FixedKl | AdaptiveKl, beta: float, found: float) -> float:
    """Return the price of KL after an update of this KL (section 4)."""
    if not isinstance(kind, AdaptiveKl):
        return beta
    if found < kind.target / NEAR:
        return beta / 2
    return beta * 2 if found > kind.target * NEAR else beta


def moved(network: Network, batch: Batch) -> dict[str, float]:
    """Return how far the policy is from the one that took the steps."""
    with torch.no_grad():
        log_probs_BA, _ = network(batch.seen_BO)
        away = (ratios(log_probs_BA, batch) - 1).abs() > SHOWN_CLIP
        return {
            "kl": kl(batch.old_log_probs_BA, log_probs_BA).mean().item(),
            "clipped": away.float().mean().item(),
        }
