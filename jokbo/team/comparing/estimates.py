"""Measured figures with their 95% intervals, and how far the interval of the difference of two reaches.

By this one rule figures are told apart: in `jokbo diff`, in `jokbo reproduce`, and where a champion is found. The
interval of a difference is Student's, with the standard error and the degrees of freedom of Welch 1947. Where both
figures rest on many units, it reaches as far as the root of the sum of the squares of what theirs reach.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import norm, t

TAIL = 0.975  # of the 95% interval, below its upper end


@dataclass(frozen=True)
class Figure:
    """A measured number. Of several seeds it is their mean."""

    value: float
    error: float | None = None  # standard error; None if nothing tells it
    freedom: float = math.inf  # degrees of freedom of the error
    seeds: int = 1

    @property
    def reach(self) -> float | None:
        """How far its 95% interval reaches to either side."""
        return None if self.error is None else float(t.ppf(TAIL, self.freedom)) * self.error

    def __str__(self) -> str:
        return f"{self.value:.4g}" + ("" if self.reach is None else f" \N{PLUS-MINUS SIGN} {self.reach:.2g}")


def over_seeds(values: Sequence[float]) -> Figure:
    """Return the mean of a figure over seeds, with the error that their spread tells; one seed tells none."""
    count = len(values)
    error = stdev(values) / math.sqrt(count) if count > 1 else None
    return Figure(fmean(values), error, max(1, count - 1), count)


def bounded(value: float, low: float, high: float, seeds: int = 1) -> Figure:
    """Return a figure whose 95% interval is known: of many units, or of some seeds."""
    freedom = seeds - 1 if seeds > 1 else math.inf
    return Figure(value, (high - low) / 2 / float(t.ppf(TAIL, freedom)), freedom, seeds)


def reach_of_difference(one: Figure, other: Figure) -> float | None:
    """Return how far the 95% interval of the difference of two independent figures reaches to either side.

    None where one has no error; or where one is of several seeds and the other of a single one, whose own error says
    nothing of other seeds.
    """
    if one.error is None or other.error is None or (one.seeds > 1) != (other.seeds > 1):
        return None
    error = math.hypot(one.error, other.error)
    if error == 0:
        return 0.0
    share = one.error**4 / one.freedom + other.error**4 / other.freedom
    return float(t.ppf(TAIL, error**4 / share) if share else norm.ppf(TAIL)) * error


def figures(metrics: Mapping[str, float]) -> dict[str, Figure]:
    """Return the figures among numbers, with their errors.

    An estimate `x` has x/value with x/standard_error and x/units, or with x/low and x/high; or it is x itself, with
    x_low and x_high.
    """
    taken: set[str] = set()
    found: dict[str, Figure] = {}

    def take(name: str, value: str, *others: str) -> None:
        found[name] = _figure(metrics[value], *(metrics.get(other) for other in others))
        taken.update((value, *others))

    for name in metrics:
        if name.endswith("/value"):
            own = name.removesuffix("value")
            take(own[:-1], name, *(f"{own}{part}" for part in ("standard_error", "units", "low", "high")))
        elif f"{name}_low" in metrics and f"{name}_high" in metrics:
            take(name, name, f"{name}_standard_error", f"{name}_units", f"{name}_low", f"{name}_high")
    return found | {name: Figure(value) for name, value in metrics.items() if name not in taken}


def figures_of_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
    """Return the figures of one run; or of several, a seed each, their means over the seeds that have them."""
    each = [figures(metrics) for metrics in runs]
    if len(each) == 1:
        return each[0]
    names = dict.fromkeys(name for own in each for name in own)
    return {name: over_seeds([own[name].value for own in each if name in own]) for name in names}


def _figure(
    value: float, error: float | None, units: float | None, low: float | None, high: float | None
) -> Figure:
    if error is not None:
        return Figure(value, error, max(1, units - 1) if units else math.inf)
    return Figure(value) if low is None or high is None else bounded(value, low, high)
