"""Steps in copies of an environment, and what they were worth.

Shapes: T steps, N copies, O numbers of an observation, A actions, B = T * N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jokbo.control.environments import Environments
from jokbo.control.network import Network


@dataclass(frozen=True)
class Rollout:
    """What was seen, done and earned, by step and copy."""

    seen_TNO: np.ndarray
    actions_TN: np.ndarray
    rewards_TN: np.ndarray
    after_TNO: np.ndarray  # what was seen after each step, before another episode began
    terminated_TN: np.ndarray  # nothing more could be earned
    ended_TN: np.ndarray  # terminated or cut short: the next step is another episode's
    episodes: list[tuple[int, float]]  # that ended: number of the step from 1 on, return

    def seen(self) -> Tensor:
        """Return what was seen as [B, O]."""
        return torch.from_numpy(self.seen_TNO.reshape(-1, self.seen_TNO.shape[-1]))

    def actions(self) -> Tensor:
        """Return what was done as [B, 1]."""
        return torch.from_numpy(self.actions_TN.reshape(-1, 1))

    def values_after(self, network: Network) -> np.ndarray:
        """Return what the value foresees after each step, [T, N]; 0 where nothing more can be earned."""
        flat_BO = torch.from_numpy(self.after_TNO.reshape(-1, self.after_TNO.shape[-1]))
        with torch.no_grad():
            return network(flat_BO)[1].numpy().reshape(self.rewards_TN.shape) * ~self.terminated_TN


def collect(network: Network, environments: Environments, count: int, update: int) -> Rollout:
    """Return `count` steps of each copy by the network's policy; what is drawn follows from the update's number."""
    uniform_TN = environments.uniform(count, update)
    seen, actions, steps, episodes = [], [], [], []
    with torch.inference_mode():
        for number in range(count):
            seen.append(environments.seen_NO.copy())
            log_probs_NA, _ = network(torch.from_numpy(environments.seen_NO))
            actions.append(sampled(log_probs_NA.exp().numpy(), uniform_TN[number]))
            step, returns = environments.step(actions[-1])
            steps.append(step)
            episodes += [(number + 1, each) for each in returns]
    rewards, after, terminated, ended = (np.stack(each) for each in zip(*steps, strict=True))
    return Rollout(np.stack(seen), np.stack(actions), rewards, after, terminated, ended, episodes)


def sampled(probabilities_NA: np.ndarray, uniform_N: np.ndarray) -> np.ndarray:
    """Return an action of each row, [N], by numbers that are uniform between 0 and 1."""
    return (probabilities_NA.cumsum(1)[:, :-1] <= uniform_N[:, None]).sum(1)


def advantages(
    rollout: Rollout, values_TN: np.ndarray, after_TN: np.ndarray, decay: tuple[float, float]
) -> np.ndarray:
    """Return generalised advantage estimates, [T, N]; `decay` is (gamma, lambda). With lambda 1 they are n-step returns
    less the value (Mnih et al. 2016, algorithm S3; Schulman et al. 2017, equation 11).

    Where an episode was cut short, or the rollout ends, the value stands for what would have followed.
    """
    discount, gae_lambda = decay
    errors_TN = rollout.rewards_TN + discount * after_TN - values_TN
    found_TN, later_N = np.zeros_like(errors_TN), np.zeros_like(errors_TN[0])
    for number in reversed(range(len(errors_TN))):
        later_N = errors_TN[number] + discount * gae_lambda * ~rollout.ended_TN[number] * later_N
        found_TN[number] = later_N
    return found_TN
