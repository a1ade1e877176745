"""DPO on pairs of the rollouts, of which the reward model prefers one response (Rafailov et al. 2023).

As published, the supervised policy says all pairs, and only then the policy learns (`online` false). Online, each
iteration's pairs are what the policy says then (Guo et al. 2024). The loss is that of jokbo/alignment/dpo.py. In its
length-normalised form a log-probability is divided by the number of tokens of its response (Lambert et al. 2024,
section 5.1), so that a long response is not preferred for being long.

The price of leaving the supervised policy is beta; that of `align` plays no part.

Shapes: B responses, C pairs (B / 2), 2 sides (preferred, rejected), R tokens of a response at most, S with the prompt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.alignment.baselines.common import Given, Made, Plan, Rolled, begun, iterated, of_network, steps
from jokbo.alignment.dpo import margins
from jokbo.alignment.labels import losses, right
from jokbo.sampling import response_log_probs
from jokbo.training import engine

if TYPE_CHECKING:
    from jokbo.alignment.rollouts import Experience
    from jokbo.params import DirectOptimisation
    from jokbo.training.loop import Row

OF_THE_OTHER = ("reward", "reward_std", "kl", "kl_per_token", "entropy", "response_length")  # of a row


def made(given: Given, own: DirectOptimisation) -> Made:
    """Return what came of DPO. Rollout, minibatch and epochs are PPO's."""
    clock = begun(given)
    settings, networks = given.settings, given.networks
    pairs = settings.minibatch // 2
    step = engine.StepSettings(pairs, settings.precision, settings.gradient_clip)
    loss = PairLoss(networks.policy, own, settings.temperature, given.prompts_NP.shape[1])
    policy = engine.start(loss, step, own.optimizer, given.job.compute)

    def learn(rolled: Rolled) -> Row:
        batch = paired(rolled.seen)
        told = steps(policy, batch, pairs, settings.epochs, rolled.seed)
        return {name: told[name] for name in ("loss", "accuracy", "margin")}

    says = given if own.online else replace(given, networks=replace(networks, policy=networks.reference))
    history = iterated(says, Plan(settings.rollout_batch, 2), {"policy": policy}, learn, clock)
    if not own.online:  # what was said tells nothing of the policy that learned of it
        history = [{name: row[name] for name in row if name not in OF_THE_OTHER} for row in history]
    return of_network(given, history)


def paired(seen: Experience) -> dict[str, Tensor]:
    """Return both responses to each prompt as a pair, the one with the higher score first; a tie is 0.5 for either."""
    scores_C2 = seen.scores_B.view(-1, 2)
    order_C2 = scores_C2.argsort(dim=1, descending=True, stable=True)
    rows_C2 = order_C2 + 2 * torch.arange(len(order_C2))[:, None]
    reference_BR = seen.old_BR - seen.kl_BR
    return {
        "tokens_C2S": seen.rollout.tokens_BS[rows_C2],
        "mask_C2R": seen.rollout.mask_BR[rows_C2],
        "reference_C2R": reference_BR[rows_C2],
        "probability_C": torch.where(scores_C2[:, 0] == scores_C2[:, 1], 0.5, 1.0),
    }


class PairLoss(nn.Module):
    """Equation 7 of DPO, nats, a mean over pairs."""

    def __init__(
        self, network: PreTrainedModel, own: DirectOptimisation, temperature: float, prompt_tokens: int
    ) -> None:
        super().__init__()
        self.network, self.temperature, self.prompt_tokens = network, temperature, prompt_tokens
        self.beta, self.length_normalised = own.beta, own.length_normalised

    def forward(
        self, tokens_C2S: Tensor, mask_C2R: Tensor, reference_C2R: Tensor, probability_C: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        now_BR = response_log_probs(
            self.network, tokens_C2S.flatten(0, 1), self.prompt_tokens, self.temperature
        )
        now_C2, reference_C2 = (
            self._of_response(each_C2R, mask_C2R)
            for each_C2R in (now_BR.view(reference_C2R.shape), reference_C2R)
        )
        margin_C = margins(now_C2, reference_C2, self.beta)
        return losses(margin_C, probability_C, 0.0).mean(), {
            "accuracy": right(margin_C, probability_C).mean(),
            "margin": margin_C.detach().mean(),
        }

    def _of_response(self, nats_C2R: Tensor, mask_C2R: Tensor) -> Tensor:
        whole_C2 = (nats_C2R * mask_C2R).sum(2)
        return whole_C2 / mask_C2R.sum(2) if self.length_normalised else whole_C2
