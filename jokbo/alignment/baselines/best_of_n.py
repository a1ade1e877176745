"""Best-of-n: of n responses of the supervised policy the one that the reward model likes best (Stiennon et al. 2020).

Nothing is trained, but every response costs n. What is said has a KL of log n - (n - 1) / n from the policy at most
(Beirami et al. 2024): exactly that where no two responses earn the same and none is probable by itself.

Shapes: N prompts, M responses to each.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import torch
from scipy.special import gammaln
from torch import Tensor

from jokbo.alignment.baselines.common import Given, Made, chosen, respond
from jokbo.alignment.networks import prepared

if TYPE_CHECKING:
    from jokbo.params import BestOfN
    from jokbo.training.loop import Row


def made(given: Given, own: BestOfN) -> Made:
    """Return the best responses to the held-out prompts, and a row for each number of them up to n."""
    prepared(given.networks)
    began, n = time.monotonic(), own.responses_per_prompt
    every = respond(given, times=n)
    seconds = time.monotonic() - began
    rewards_NM = every.rewards_B.view(-1, n)
    history: list[Row] = [
        {
            "step": m,
            "reward": best_of(rewards_NM, m).mean().item(),
            "kl": kl(m),
            "samples": m * len(rewards_NM),
            "seconds": round(seconds * m / n, 3),
        }
        for m in range(1, n + 1)
    ]
    best_N = torch.arange(len(rewards_NM)) * n + rewards_NM.argmax(1)
    return Made(history, None, chosen(every, best_N, kl(n)))


def kl(n: int) -> float:
    """Return the largest KL of the best of n, nats."""
    return math.log(n) - (n - 1) / n


def best_of(rewards_NM: Tensor, m: int, told_NM: Tensor | None = None) -> Tensor:
    """Return the mean over all ways to choose m of the M responses of the largest of their rewards, [N].

    With `told_NM`, it is the mean of what that tells of the response with the largest reward. The response of rank i
    from below is the best of C(i - 1, m - 1) of C(M, m) choices.
    """
    count = rewards_NM.shape[1]
    rank_M = torch.arange(m, count + 1).double().numpy()
    log_weights = gammaln(rank_M) - gammaln(rank_M - m + 1) - gammaln(m)
    log_all = gammaln(count + 1) - gammaln(m + 1) - gammaln(count - m + 1)
    weights_M = torch.zeros(count, dtype=torch.float64)
    weights_M[m - 1 :] = torch.from_numpy(log_weights - log_all).exp()
    told_NM = rewards_NM if told_NM is None else told_NM
    return told_NM.double().gather(1, rewards_NM.argsort(dim=1, stable=True)) @ weights_M
