"""GRPO: PPO's clipped steps without a value network (Shao et al. 2024).

How much better a response is than was foreseen is told by the other responses to its prompt: its advantage, the same
for all of its tokens, is what it earned less their mean, divided by their deviation. Each response weighs alike: the
loss of a token is divided by the length of its response.

Dr. GRPO (Liu et al. 2025) divides by neither. The one makes prompts that are all but settled weigh most; the other
makes long responses pay less for what is wrong in them.

The price of KL is in what a response earns, as it is for PPO and the other baselines; the paper adds it to the loss.

Shapes: B responses, G prompts, K responses to each, R tokens of a response at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from jokbo.alignment.baselines.common import Given, Made, Plan, Rolled, begun, iterated, of_network, steps
from jokbo.alignment.ppo import PolicyLoss
from jokbo.training import engine

if TYPE_CHECKING:
    from jokbo.params import Grpo
    from jokbo.training.loop import Row

SMALL = 1e-4  # added to the deviation of a group, which may be 0


def made(given: Given, own: Grpo) -> Made:
    """Return what came of GRPO. Rollout, minibatch, epochs, clip and optimizer are PPO's."""
    clock = begun(given)
    settings = given.settings
    step = engine.StepSettings(settings.minibatch, settings.precision, settings.gradient_clip)
    loss = PolicyLoss(given.networks.policy, settings, given.prompts_NP.shape[1])
    policy = engine.start(loss, step, settings.policy_optimizer, given.job.compute)

    def learn(rolled: Rolled) -> Row:
        rollout, earned_B = rolled.seen.rollout, rolled.rewards_BR.sum(1)
        advantages_B = advantages(earned_B, own.responses_per_prompt, corrected=own.corrected)
        batch = {
            "tokens_BS": rollout.tokens_BS,
            "weights_BR": weights(rollout.mask_BR, corrected=own.corrected),
            "old_log_probs_BR": rolled.seen.old_BR,
            "advantages_BR": advantages_B[:, None].expand_as(rollout.mask_BR),
        }
        told = steps(policy, batch, settings.minibatch, settings.epochs, rolled.seed)
        return {
            "policy_loss": told["surrogate"],
            **{name: told[name] for name in ("clip_fraction", "step_kl")},
        }

    plan = Plan(settings.rollout_batch, own.responses_per_prompt)
    return of_network(given, iterated(given, plan, {"policy": policy}, learn, clock))


def advantages(earned_B: Tensor, each: int, *, corrected: bool) -> Tensor:
    """Return by how much a response is better than those to its prompt, [B]; `each` stand next to each other."""
    earned_GK = earned_B.view(-1, each)
    above_GK = earned_GK - earned_GK.mean(1, keepdim=True)
    if not corrected:
        above_GK = above_GK / (earned_GK.std(1, keepdim=True) + SMALL)
    return above_GK.flatten()


def weights(mask_BR: Tensor, *, corrected: bool) -> Tensor:
    """Return what each token weighs, [B, R], where the loss is a mean over all B and R.

    Then a response's loss is the sum over its tokens divided by its length, or if corrected by R.
    """
    if corrected:
        return mask_BR.float()
    return mask_BR * (mask_BR.shape[1] / mask_BR.sum(1, keepdim=True))
