"""Learning rates over a training, as shares of the largest one: what the engine's trapezoid is not."""

from __future__ import annotations

from collections.abc import Callable

from torch.optim.lr_scheduler import LambdaLR

from jokbo.training.engine import Schedule


def by_share(rate: Callable[[float], float], steps: int) -> Schedule:
    """The rate as a function of the share of the steps that are done, 0 ... 1."""
    return lambda optimizer: LambdaLR(optimizer, lambda step: rate(step / steps))


def noam(warmup: int) -> Schedule:
    """A linear warm-up, then a fall with the root of the step (Vaswani et al. 2017, equation 3), 1 at its top."""
    top = max(1, warmup)

    def rate(step: int) -> float:
        return min((step + 1) / top, (top / (step + 1)) ** 0.5)

    return lambda optimizer: LambdaLR(optimizer, rate)


def one_cycle(share: float) -> float:
    """From a quarter up to 1 at three quarters of the budget, then down to zero (Geiping and Goldstein 2023, 4.3)."""
    return max(0.0, min(0.25 + share, 4 * (1 - share)))
