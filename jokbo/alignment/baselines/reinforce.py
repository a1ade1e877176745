"""REINFORCE: a response is made more probable by how much more it earned than a baseline (Williams 1992).

The response is one action, and what it earned is one number. The baseline is the mean of the other responses to the
prompt (RLOO: Kool et al. 2019; Ahmadian et al. 2024), or a moving average of what was earned in iterations past. Each
iteration is one optimizer step, so the policy learns from nothing but its own responses, and no ratio is clipped.

Shapes: B responses, G prompts, K responses to each, R tokens of a response at most, S with the prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

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
from jokbo.training import engine

if TYPE_CHECKING:
    from jokbo.params import Reinforce
    from jokbo.training.loop import Row


def made(given: Given, own: Reinforce) -> Made:
    """Return what came of REINFORCE."""
    clock = begun(given)
    settings, prompt_tokens = given.settings, given.prompts_NP.shape[1]
    step = engine.StepSettings(own.batch, settings.precision, settings.gradient_clip)
    loss = PolicyGradient(given.networks.policy, settings.temperature, prompt_tokens)
    policy = engine.start(loss, step, own.optimizer, given.job.compute)

    def learn(rolled: Rolled) -> Row:
        earned_B, rollout = rolled.rewards_BR.sum(1), rolled.seen.rollout
        if own.baseline == "leave_one_out":
            advantages_B = above_others(earned_B, own.responses_per_prompt)
        else:
            now = earned_B.mean().item()
            average = rolled.kept.get("average", now)  # in the first iteration there is none past
            advantages_B = earned_B - average
            rolled.kept["average"] = own.decay * average + (1 - own.decay) * now
        batch = {
            "tokens_BS": rollout.tokens_BS,
            "mask_BR": rollout.mask_BR,
            "advantages_BR": advantages_B[:, None],
        }
        told = steps(policy, batch, own.batch, seed=rolled.seed)
        return {"policy_loss": told["loss"]}

    plan = Plan(own.batch, own.responses_per_prompt)
    return of_network(given, iterated(given, plan, {"policy": policy}, learn, clock))


def above_others(earned_B: Tensor, each: int) -> Tensor:
    """Return what a response earned less the mean of the other responses to its prompt, [B].

    Responses to one prompt, `each` of them, stand next to each other. None has a part in its own baseline, so that the
    gradient is as right as without one.
    """
    earned_GK = earned_B.view(-1, each)
    others_GK = (earned_GK.sum(1, keepdim=True) - earned_GK) / (each - 1)
    return (earned_GK - others_GK).flatten()
