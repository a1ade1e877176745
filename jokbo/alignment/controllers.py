"""What a response earns in PPO: its score, what is new in it, less the price of KL, and what its length earns.

The last two are steered from one iteration to the next.

Shapes: B responses of a rollout, R tokens of a response at most, N pairs of neighbouring tokens in the rollout, K of
them distinct.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from jokbo.alignment.advantages import at_last

if TYPE_CHECKING:
    from jokbo.alignment.rollouts import Experience
    from jokbo.params import Ppo
    from jokbo.sampling import Rollout


@dataclass
class KlController:
    """beta, moved in proportion to how far KL is from its target, by a fifth at most (Ziegler et al., section 2.2)."""

    beta: float
    target: float
    gain: float

    def update(self, kl: float) -> None:
        error = max(-0.2, min(0.2, kl / self.target - 1))
        self.beta *= 1 + self.gain * error


@dataclass(frozen=True)
class LengthReward:
    """A reward for length that holds the mean length of responses at the target.

    Without it responses shrink: a shorter one deviates from the reference at fewer positions, so it pays less KL. The
    first part takes from each response what such as it are worth by their length alone, by the line of least squares
    through this rollout, so that no length pays. The second draws the mean to the target.
    """

    target: float  # tokens
    gain: float

    def weight(self, returns_B: Tensor, lengths_B: Tensor) -> float:
        """Return the reward of a response that is longer than the target by all of it; what returns are without it."""
        if not self.gain:
            return 0.0
        returns_B, lengths_B = returns_B.double(), lengths_B.double()
        apart_B = lengths_B - lengths_B.mean()
        slope = (apart_B * returns_B).sum() / apart_B.square().sum().clamp(min=1)
        return (self.gain * (1 - lengths_B.mean() / self.target) - self.target * slope).item()

    def of(self, lengths_B: Tensor, weight: float) -> Tensor:
        """Return the reward [B] of responses of these lengths."""
        return weight * (lengths_B / self.target - 1)


def earned(seen: Experience, settings: Ppo) -> Tensor:
    """Return what responses earn [B]: by their scores, and, times `settings.novelty`, by what is new in them."""
    earned_B = centred(seen.scores_B, settings.reward_centre)
    return earned_B + settings.novelty * novelty(seen.rollout) if settings.novelty else earned_B


def centred(scores_B: Tensor, centre: float | None) -> Tensor:
    """Return what responses earn by their scores: these themselves, or log sigmoid(score - centre).

    The second (Wang et al. 2024, Transforming and Combining Rewards) earns ever less for a response that is
    good already. So the policy learns from those that are not, and does not overdo the others.
    """
    return scores_B if centre is None else logsigmoid(scores_B - centre)


def novelty(rollout: Rollout) -> Tensor:
    """Return how new each response is in its rollout [B], 0 to 1: of its pairs of tokens the mean of 1 / occurrences.

    The occurrences are those of the pair in the whole rollout. So the mean over the pairs of all responses is the
    rollout's distinct-2, of tokens. A response without a pair is not new: 0.
    """
    tokens_BR = rollout.tokens_BS[:, rollout.prompt_tokens :]
    pairs_BR = torch.stack((tokens_BR[:, :-1], tokens_BR[:, 1:]), dim=-1)
    there_BR = rollout.mask_BR[:, 1:]
    _, kind_N, occurrences_K = pairs_BR[there_BR].unique(dim=0, return_inverse=True, return_counts=True)
    new_BR = torch.zeros(there_BR.shape)
    new_BR[there_BR] = 1 / occurrences_K[kind_N]
    return new_BR.sum(1) / there_BR.sum(1).clamp(min=1)


class Controllers(NamedTuple):
    kl: KlController
    length: LengthReward
    settings: Ppo

    @classmethod
    def of(cls, settings: Ppo, beta: float, length: float) -> Controllers:
        """Return what steers the price of KL, now `beta`, and draws responses to this mean length, tokens."""
        return cls(
            KlController(beta, settings.kl_target, settings.kl_gain),
            LengthReward(length, settings.length_gain),
            settings,
        )

    def rewards(self, seen: Experience) -> tuple[Tensor, float]:
        """Return the reward of each token [B, R], and the weight of length in it.

        A token pays what it costs to leave the reference there; what the response earns comes with its last.
        """
        mask_BR, lengths_B = seen.rollout.mask_BR, seen.rollout.lengths_B
        costs_BR, earned_B = self.kl.beta * seen.kl_BR, earned(seen, self.settings)
        weight = self.length.weight(earned_B - costs_BR.sum(1), lengths_B)
        return at_last(earned_B + self.length.of(lengths_B, weight), mask_BR) - costs_BR, weight
