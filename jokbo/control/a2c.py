"""A2C: A3C whose workers wait for each other (Mnih et al. 2016; named in Schulman et al. 2017, section 6.2).

Each worker takes `segment` steps by the same policy. Then one step is taken by the mean of their gradients, by RMSProp.
`loss`, `stepped` and `rate_at` are A3C's too: with one worker both are the same, to the bit.

Settings (control/params.yaml, kind a2c)
    workers              copies of the environment; an update is of workers * segment steps
    segment              steps of each between two updates, t_max; it goes on over the end of an episode, where the
                         paper's ends with it
    learning_rate        of RMSProp at the start, falling to 0 in a straight line, as in the paper's section 8
    decay, epsilon       RMSProp's alpha, and what it adds below the root (equations S2 and S3)
    discount             gamma
    value_coefficient    weight of the squared error of the value
    entropy_coefficient  weight of the policy's entropy, beta (section 4)

Measures (of the learning curve, means between two points)
    policy_loss          minus log-probability times advantage, a step
    value_loss           squared error of the value, a step
    entropy              of the policy, in nats

Shapes: as in rollouts.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jokbo.control.environments import Environments
from jokbo.control.job import Job, Outcome, Saving, check_finite
from jokbo.control.network import Network, flattened, gradient
from jokbo.control.rollouts import Rollout, advantages, collect
from jokbo.control.settings import A2c, A3c


def trained(job: Job) -> Outcome:
    """Return what came of A2C; from the checkpoint on, if there is one, and then the same."""
    own = job.setting.own
    assert isinstance(own, A2c)
    environments = Environments(job.where.environment, job.seed, range(own.workers))
    network = job.network(environments.seen_NO.shape[1], environments.actions)
    weights = flattened(network)
    squares, update = torch.zeros_like(weights), 0
    record, kept = job.restored()
    if kept:
        weights.copy_(kept["weights"])
        squares, update = kept["squares"], kept["update"]
        environments.restore(kept["environments"])
    saving = Saving(job)
    while record.steps < job.where.steps:
        rollout = collect(network, environments, own.segment, update)
        total, measures = loss(network, rollout, own)
        stepped(weights, squares, gradient(network, total), rate_at(record.steps, job, own), own)
        check_finite(job, weights)
        update += 1
        ended = [(record.steps + step * own.workers, earned) for step, earned in rollout.episodes]
        record.add(own.segment * own.workers, ended, measures)
        if saving.due():
            state = {"weights": weights, "squares": squares, "update": update}
            job.save(record, {**state, "environments": environments.state()})
    return Outcome(record, weights)


def loss(network: Network, rollout: Rollout, own: A2c | A3c) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a rollout, summed over steps as in algorithm S3 and averaged over copies; its measures."""
    seen_BO, actions_B1 = rollout.seen(), rollout.actions()
    log_probs_BA, values_B = network(seen_BO)
    steps, copies = rollout.rewards_TN.shape
    values_TN = values_B.detach().numpy().reshape(steps, copies)
    found_TN = advantages(rollout, values_TN, rollout.values_after(network), (own.discount, 1.0))
    advantages_B = torch.from_numpy(found_TN.reshape(-1))
    returns_B = advantages_B + values_B.detach()
    policy = -(log_probs_BA.gather(1, actions_B1).squeeze(1) * advantages_B).sum()
    value = (returns_B - values_B).square().sum()
    entropy = -(log_probs_BA.exp() * log_probs_BA).sum()
    total = (policy + own.value_coefficient * value - own.entropy_coefficient * entropy) / copies
    shown = {"policy_loss": policy, "value_loss": value, "entropy": entropy}
    return total, {name: each.item() / (steps * copies) for name, each in shown.items()}


def stepped(weights: Tensor, squares: Tensor, gradient: Tensor, rate: float, own: A2c | A3c) -> None:
    """Take one step of RMSProp without momentum, in place (equations S2 and S3)."""
    squares.mul_(own.decay).addcmul_(gradient, gradient, value=1 - own.decay)
    weights.addcdiv_(gradient, (squares + own.epsilon).sqrt_(), value=-rate)


def rate_at(steps: int, job: Job, own: A2c | A3c) -> float:
    """Return the step size after so many steps of the environment: it falls to 0 in a straight line."""
    return own.learning_rate * max(0.0, 1 - steps / job.where.steps)
