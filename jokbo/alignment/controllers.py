"""What a response earns in PPO: its score, less the price of KL, and what its length earns.

The last two are steered from one iteration to the next.

Shapes: B responses of a rollout, R tokens of a response at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid

from jokbo.alignment.advantages import at_last

if TYPE_CHECKING:
    from jokbo.alignment.rollouts import Experience
    from jokbo.params import Ppo


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


def earned(scores_B: Tensor, centre: float | None) -> Tensor:
    """Return what responses earn by their scores: these themselves, or log sigmoid(score - centre).

    The second (Wang et al. 2024, Transforming and Combining Rewards) earns ever less for a response that is
    good already. So the policy learns from those that are not, and does not overdo the others.
    """
    return scores_B if centre is None else logsigmoid(scores_B - centre)


class Controllers(NamedTuple):
    kl: KlController
    length: LengthReward
    centre: float | None = None  # of `earned`

    @classmethod
    def of(cls, settings: Ppo, beta: float, length: float) -> Controllers:
        """Return what steers the price of KL, now `beta`, and draws responses to this mean length, tokens."""
        return cls(
            KlController(beta, settings.kl_target, settings.kl_gain),
            LengthReward(length, settings.length_gain),
            settings.reward_centre,
        )

    def rewards(self, seen: Experience) -> tuple[Tensor, float]:
        """Return the reward of each token [B, R], and the weight of length in it.

        A token pays what it costs to leave the reference there; what the response earns comes with its last.
        """
        mask_BR, lengths_B = seen.rollout.mask_BR, seen.rollout.lengths_B
        costs_BR, earned_B = self.kl.beta * seen.kl_BR, earned(seen.scores_B, self.centre)
        weight = self.length.weight(earned_B - costs_BR.sum(1), lengths_B)
        return at_last(earned_B + self.length.of(lengths_B, weight), mask_BR) - costs_BR, weight
