"""Chinchilla's first two approaches: what is best for a number of FLOPs, read off curves and parabolas.

Hoffmann et al. 2022, sections 3.1 and 3.2. Each gives, at some numbers of FLOPs, the parameters at which the loss is
lowest, and a power law through them.

Shape letters: R rows, K points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jokbo.scaling.counting import FLOPS_EACH
from jokbo.scaling.runs import Count, Counted, Runs

ENVELOPE_POINTS = (
    1500  # numbers of FLOPs at which the lowest curve is looked for (Hoffmann et al. 2022, section 3.1)
)
LEAST_SIZES, LEAST_BUDGETS = 4, 3
SAME_BUDGET = 0.05  # relative difference of FLOPs that are one budget
BUDGETS = 8  # of a grid, where runs have no budgets in common


@dataclass(frozen=True)
class Frontier:
    """The best size by FLOPs: points, and the power law through them, N_opt = exp(offset) C^exponent."""

    flops: np.ndarray
    parameters: np.ndarray
    loss: np.ndarray
    exponent: float
    offset: float

    def at(self, flops: float) -> tuple[float, float]:
        """Return parameters and tokens for a budget."""
        parameters = float(np.exp(self.offset + self.exponent * np.log(flops)))
        return parameters, flops / FLOPS_EACH / parameters


@dataclass(frozen=True)
class Parabola:
    """The losses of several sizes at one number of FLOPs, and the parabola through them over log N."""

    flops: float
    parameters: np.ndarray  # of the sizes
    loss: np.ndarray
    coefficients: np.ndarray  # of 1, log N, (log N)^2

    @property
    def lowest(self) -> tuple[float, float] | None:
        """Parameters and loss at its lowest point; None if that is not between the sizes."""
        constant, linear, square = self.coefficients
        if square <= 0:
            return None
        at = -linear / (2 * square)
        if not np.log(self.parameters.min()) < at < np.log(self.parameters.max()):
            return None
        return float(np.exp(at)), float(constant - linear**2 / (4 * square))


def by_run(runs: Runs, count: Count) -> list[Counted]:
    """Return the training curve of each run, in the order of tokens."""
    return _grouped(runs.counted(count), np.array(runs.names))


def by_size(results: Counted) -> list[Counted]:
    """Return the results of each size, in the order of tokens: as a curve, each point of which has its own learning
    rate schedule.
    """
    return _grouped(results, results.parameters)


def _grouped(rows: Counted, group_R: np.ndarray) -> list[Counted]:
    found = []
    for group in dict.fromkeys(group_R.tolist()):
        rows_K = np.flatnonzero(group_R == group)
        _, first_K = np.unique(rows.tokens[rows_K], return_index=True)
        found.append(rows.of(rows_K[first_K]))
    return found


def envelope(curves: list[Counted]) -> Frontier | None:
    """Return the frontier of the lowest curves; None if there are too few sizes on it.

    A curve is taken to be a straight line of log loss over log FLOPs between two of its points. Where no smaller or no
    larger size has a curve, the best size may be one of those: such FLOPs are left out.
    """
    flops_K = np.geomspace(
        min(curve.flops.min() for curve in curves),
        max(curve.flops.max() for curve in curves),
        ENVELOPE_POINTS,
    )
    loss_SK = np.array(
        [
            np.interp(np.log(flops_K), np.log(each.flops), np.log(each.loss), left=np.inf, right=np.inf)
            for each in curves
        ]
    )
    size_S = np.array([curve.parameters[0] for curve in curves])
    there_SK = np.isfinite(loss_SK)
    least_K = np.where(there_SK, size_S[:, None], np.inf).min(axis=0)
    most_K = np.where(there_SK, size_S[:, None], 0).max(axis=0)
    best_K = size_S[loss_SK.argmin(axis=0)]
    inside_K = there_SK.any(axis=0) & (least_K < best_K) & (best_K < most_K)
    if len(set(best_K[inside_K])) < LEAST_BUDGETS:
        return None
    return _through(flops_K[inside_K], best_K[inside_K], np.exp(loss_SK.min(axis=0)[inside_K]))


def parabolas(results: Counted) -> list[Parabola]:
    """Return the isoFLOP parabolas of runs: at each budget that sizes have in common, or on a grid of them.

    Of a size that has no run at a budget, the loss there is interpolated between its runs (log loss over log tokens); a
    size whose runs do not reach it is left out.
    """
    found = []
    for budget in budgets(results):
        points = np.array(list(_losses_at(results, budget))).reshape(-1, 2)
        if len(points) >= LEAST_SIZES:
            polynomial = np.polynomial.Polynomial.fit(np.log(points[:, 0]), points[:, 1], 2).convert()
            coefficients = np.resize(np.append(polynomial.coef, [0.0, 0.0]), 3)
            found.append(Parabola(budget, points[:, 0], points[:, 1], coefficients))
    return found


def budgets(results: Counted) -> list[float]:
    """Return the FLOPs that at least LEAST_SIZES sizes have in common; a grid if there are fewer than LEAST_BUDGETS."""
    left = sorted(results.flops)
    common = []
    while left:
        near = [each for each in left if each <= left[0] * (1 + SAME_BUDGET)]
        of_sizes = {
            parameters
            for parameters, flops in zip(results.parameters, results.flops, strict=True)
            if near[0] <= flops <= near[-1]
        }
        if len(of_sizes) >= LEAST_SIZES:
            common.append(float(np.exp(np.mean(np.log(near)))))
        left = left[len(near) :]
    if len(common) >= LEAST_BUDGETS:
        return common
    low, high = np.quantile(results.flops, [0.1, 0.9])
    return np.geomspace(low, high, BUDGETS).tolist()


def _losses_at(results: Counted, budget: float) -> Iterator[tuple[float, float]]:
    """Yield each size that reaches the budget, and its loss there."""
    for parameters in np.unique(results.parameters):
        own = results.of(np.flatnonzero(results.parameters == parameters))
        tokens_K, first_K = np.unique(own.tokens, return_index=True)
        wanted = budget / FLOPS_EACH / parameters
        if (near := np.abs(tokens_K / wanted - 1)).min() <= SAME_BUDGET:
            yield float(parameters), float(own.loss[own.tokens == tokens_K[near.argmin()]].mean())
        elif tokens_K[0] < wanted < tokens_K[-1]:
            log_loss = np.interp(np.log(wanted), np.log(tokens_K), np.log(own.loss[first_K]))
            yield float(parameters), float(np.exp(log_loss))


def isoflop(found: list[Parabola]) -> Frontier | None:
    """Return the frontier of the parabolas' lowest points; None if fewer than LEAST_BUDGETS have one."""
    lowest = [(each.flops, *each.lowest) for each in found if each.lowest]
    if len(lowest) < LEAST_BUDGETS:
        return None
    return _through(*np.array(lowest).T)


def _through(flops_K: np.ndarray, parameters_K: np.ndarray, loss_K: np.ndarray) -> Frontier:
    """Return the frontier of points with the power law through them, by least squares of logarithms."""
    offset, exponent = np.polynomial.Polynomial.fit(np.log(flops_K), np.log(parameters_K), 1).convert().coef
    return Frontier(flops_K, parameters_K, loss_K, float(exponent), float(offset))
