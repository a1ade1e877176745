"""What PPO steers from one iteration to the next: the price of KL, and what a response's length earns.

Shapes: B responses of a rollout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


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


class Controllers(NamedTuple):
    kl: KlController
    length: LengthReward
