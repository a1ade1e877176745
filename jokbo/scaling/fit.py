"""Everything that is fitted to a table of runs, with intervals: as one tree, which JSON holds.

Intervals are percentiles of resamples of whole runs (Efron and Tibshirani 1993, section 13.3): they hold what another
draw of such runs would change, and not what a law leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jokbo.evaluation.intervals import of_resamples
from jokbo.runtime.errors import InputError
from jokbo.scaling import approaches, fitting, laws
from jokbo.scaling.approaches import Frontier
from jokbo.scaling.counting import FLOPS_EACH
from jokbo.scaling.fitting import Form, Optimum
from jokbo.scaling.runs import COUNTS, Count, Counted, Runs

Tree = dict[str, Any]
LEAST_RUNS, LEAST_EACH = 8, 3  # runs, and different sizes and tokens among them
HELD_OUT = 0.2  # of the runs: those of the most FLOPs
LEAST_POINTS = 4  # of a power law
LEAST_DRAWN = 0.5  # of the resamples: those that must give a number for an interval of it


@dataclass(frozen=True)
class Given:
    """What is fitted, and how its intervals are made."""

    runs: Runs  # all rows
    draws: Sequence[np.ndarray]  # row numbers of the results, a resample each

    @property
    def results(self) -> Runs:
        return self.runs.results


def fitted(runs: Runs, samples: int, seed: int, where: str) -> Tree:
    """Return all that is fitted to the runs. InputError, naming `where`, if they are too few or too much alike, or if
    Chinchilla's law does not converge on them.
    """
    check(runs.results, where)
    given = Given(runs, fitting.resamples(len(runs.results), samples, seed))
    results = runs.results
    tree: Tree = {
        "runs": len(results),
        "sizes": len(np.unique(results[results.counts[0]])),
        "flops": [float(results["flops"].min()), float(results["flops"].max())],
        "resamples": samples,
        "seed": seed,
        "counts": {count: of_count(given, count, where) for count in results.counts},
    }
    tree["critical_batch"] = critical_batch(given)
    return tree


def check(results: Runs, where: str) -> None:
    """Raise InputError for runs that no law can be fitted to."""
    if len(results) < LEAST_RUNS:
        raise InputError(f"{where}: {len(results)} runs: a fit of five numbers needs {LEAST_RUNS} or more")
    for name, column in (("size", results.counts[0]), ("number of tokens", "tokens")):
        found = np.unique(results[column])
        if len(found) < LEAST_EACH:
            raise InputError(
                f"{where}: {len(results)} runs of {len(found)} {name}{'s' * (len(found) > 1)} ({found[0]:g}): a fit "
                f"needs {LEAST_EACH} or more"
            )


def of_count(given: Given, count: Count, where: str) -> Tree:
    """Return what is fitted where parameters are counted in one of the ways."""
    results = given.results.counted(count)
    try:
        best = fitting.fit(laws.CHINCHILLA, results)
        own = fitting.fit(laws.KAPLAN, results)
    except InputError as error:
        raise InputError(f"{where}: {count}: {error}") from error
    drawn = fitting.resampled(laws.CHINCHILLA, results, best, given.draws)
    return {
        "chinchilla": {
            **_numbers(laws.CHINCHILLA, best, drawn),
            "draws": [[float(f"{value:.6g}") for value in row] for row in drawn],
            "theta": best.theta.tolist(),
        },
        "kaplan": _numbers(laws.KAPLAN, own, fitting.resampled(laws.KAPLAN, results, own, given.draws)),
        "exponents": exponents(given, count, best, drawn),
        "compute": compute_law(given, count),
        "held_out": {form.name: held_out(form, results) for form in (laws.CHINCHILLA, laws.KAPLAN)},
        "isoflop": [
            {
                "flops": each.flops,
                "parameters": each.parameters.tolist(),
                "loss": each.loss.tolist(),
                "coefficients": each.coefficients.tolist(),
                "lowest": each.lowest,
            }
            for each in approaches.parabolas(results)
        ],
    }


def _numbers(form: Form, best: Optimum, drawn: np.ndarray) -> Tree:
    """Return the numbers of a law with their intervals."""
    again = form.read(drawn)
    return {name: _interval(float(value), again[name]) for name, value in form.read(best.theta).items()}


def _interval(value: float, drawn: Any) -> dict[str, float]:
    return of_resamples(value, drawn)._asdict()


def exponents(given: Given, count: Count, best: Optimum, drawn: np.ndarray) -> dict[str, Tree | None]:
    """Return a of N_opt = G (C / 6)^a by each of the approaches, with its interval; None where it cannot be told."""

    def of_curves(runs: Runs) -> Frontier | None:
        return approaches.envelope(approaches.by_run(runs, count))

    def of_results(runs: Runs) -> Frontier | None:
        return approaches.envelope(approaches.by_size(runs.results.counted(count)))

    def of_parabolas(runs: Runs) -> Frontier | None:
        return approaches.isoflop(approaches.parabolas(runs.results.counted(count)))

    ways = {"envelope of results": of_results, "isoFLOP parabolas": of_parabolas}
    if given.runs.are_curves:
        ways = {"envelope of training curves": of_curves, **ways}
    found: dict[str, Tree | None] = {name: frontier(given, way) for name, way in ways.items()}
    found["parametric loss"] = _interval(float(laws.exponent(best.theta)), laws.exponent(drawn))
    return found


def frontier(given: Given, way: Callable[[Runs], Frontier | None]) -> Tree | None:
    """Return the exponent that an approach gives, its interval, and the law it is of; None where it cannot be told."""
    found = way(given.runs)
    if found is None:
        return None
    again = [way(given.runs.of(rows)) for rows in rows_of(given)]
    drawn = [each.exponent for each in again if each]
    if len(drawn) < LEAST_DRAWN * len(again):
        return None
    return {
        **_interval(found.exponent, drawn),
        "offset": found.offset,
        "points": len(found.flops),
        "lost_resamples": len(again) - len(drawn),
    }


def rows_of(given: Given) -> list[np.ndarray]:
    """Return the rows, those of curves too, of the runs of each resample; a run that comes twice is there once."""
    names_R = np.array(given.runs.names)
    results = np.array(given.results.names)
    return [np.flatnonzero(np.isin(names_R, results[np.unique(rows)])) for rows in given.draws]


def compute_law(given: Given, count: Count) -> Tree | None:
    """Return Kaplan's L(C) = (C_c / C)^alpha_C (equation 1.3) through the runs that none beats with as few FLOPs."""

    def of(results: Counted) -> tuple[float, float] | None:
        order = np.argsort(results.flops, kind="stable")
        flops_K, loss_K = results.flops[order], results.loss[order]
        best_K = loss_K <= np.minimum.accumulate(loss_K)
        if best_K.sum() < LEAST_POINTS:
            return None
        line = np.polynomial.Polynomial.fit(np.log(flops_K[best_K]), np.log(loss_K[best_K]), 1).convert()
        return -float(line.coef[1]), float(line.coef[0])

    whole = given.results.counted(count)
    found = of(whole)
    if found is None:
        return None
    drawn = [each for rows in given.draws if (each := of(whole.of(rows)))]
    return {"alpha_C": _interval(found[0], [each[0] for each in drawn]), "offset": found[1]}


def held_out(form: Form, results: Counted) -> Tree | None:
    """Return how well a law that is fitted to the smaller runs tells the losses of the largest fifth; None if it does
    not converge on them.
    """
    order = np.argsort(results.flops, kind="stable")
    count = max(1, round(HELD_OUT * len(order)))
    small, large = results.of(order[:-count]), results.of(order[-count:])
    try:
        theta_P = fitting.fit(form, small).theta
    except InputError:
        return None
    said_K = laws.loss(form, theta_P, large.parameters, large.tokens)
    off_K = said_K / large.loss - 1
    return {
        "runs": count,
        "times": float(large.flops.max() / small.flops.max()),  # how far beyond
        "mean_error": float(np.abs(off_K).mean()),  # relative
        "bias": float(off_K.mean()),
        "largest_error": float(np.abs(off_K).max()),
        "predicted": said_K.tolist(),
        "measured": large.loss.tolist(),
    }


def critical_batch(given: Given) -> Tree | None:
    """Return B_crit(L) = B / L^(1 / alpha_B), tokens, by the gradient noise scale; None where it was not measured.

    McCandlish et al. 2018, section 2.2; Kaplan et al. 2020, equation 1.4.
    """
    runs = given.runs
    if "noise_scale" not in runs.columns:
        return None

    def of(rows: Runs) -> np.ndarray | None:
        """Return the exponents of loss and of size, one by itself and both, and the constant of the first."""
        there = np.isfinite(rows["noise_scale"])
        loss, size = np.log(rows["loss"][there]), np.log(rows[rows.counts[0]][there])
        if there.sum() < LEAST_POINTS or np.ptp(loss) == 0:
            return None
        scale, ones = np.log(rows["noise_scale"][there]), np.ones(there.sum())
        alone = np.linalg.lstsq(np.stack([ones, loss], 1), scale)[0]
        both = np.linalg.lstsq(np.stack([ones, loss, size], 1), scale)[0]
        return np.array([alone[1], both[2], alone[0]])

    found = of(runs)
    if found is None:
        return None
    drawn = np.array([each for rows in rows_of(given) if (each := of(runs.of(rows))) is not None])
    there = np.isfinite(runs["noise_scale"])
    ends = [float(runs["loss"][there].max()), float(runs["loss"][there].min())]
    return {
        "slope": _interval(found[0], drawn[:, 0]),  # of log B over log L: -1 / alpha_B
        "size_slope": _interval(found[1], drawn[:, 1]),  # of log B over log N, at equal loss
        "B": float(np.exp(found[2])),
        "losses": ends,
        "tokens": [float(np.exp(found[2] + found[0] * np.log(loss))) for loss in ends],
        "points": int(there.sum()),
    }


def planned(tree: Tree, budget: float) -> Tree:
    """Return what to train for so many FLOPs (6 N D), by the fit of all parameters, or of those that were counted.

    By Chinchilla's law: parameters, tokens and loss with their intervals. By the other approaches that could be told,
    parameters and tokens.
    """
    count = next(count for count in COUNTS if count in tree["counts"])
    own = tree["counts"][count]
    best, drawn = np.array(own["chinchilla"]["theta"]), np.array(own["chinchilla"]["draws"])
    sizes, tokens = np.array([laws.optimum(theta, budget) for theta in (best, *drawn)]).T
    losses = [
        float(laws.loss(laws.CHINCHILLA, theta, np.array([size]), np.array([data]))[0])
        for theta, size, data in zip((best, *drawn), sizes, tokens, strict=True)
    ]
    others = {}
    for name, found in own["exponents"].items():
        if found and "offset" in found:
            parameters = float(np.exp(found["offset"] + found["value"] * np.log(budget)))
            others[name] = {"parameters": parameters, "tokens": budget / FLOPS_EACH / parameters}
    return {
        "count": count,
        "parameters": _interval(sizes[0], sizes[1:]),
        "tokens": _interval(tokens[0], tokens[1:]),
        "loss": _interval(losses[0], losses[1:]),
        "others": others,
        "beyond": budget / tree["flops"][1],  # the largest run, times
    }
