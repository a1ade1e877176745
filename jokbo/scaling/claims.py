"""What the papers of scaling laws claim, and whether it is seen in a fit, with the comparison's statistics.

A claim of a number is seen if the 95% interval here holds it; one of an order, if the interval of the difference lies
above zero. Nothing is corrected for the number of claims. The papers' networks were thousands of times larger, so that
what is not seen here is not refuted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import t

from jokbo.comparison.verdicts import NOISE, NOT_SEEN, SEEN, UNMEASURED
from jokbo.evaluation.intervals import of_resamples
from jokbo.reporting.tables import Table, number
from jokbo.scaling import approaches, laws
from jokbo.scaling.runs import COUNTS, Runs
from jokbo.scaling.tables import interval

Tree = Mapping[str, Any]
HEADER = ["claim", "paper", "figures here", "verdict", "statistics"]
ALL, WITHOUT = COUNTS


def claims(tree: Tree, runs: Runs) -> Table:
    """Return the table of claims."""
    rows = [
        _above_zero(
            "Loss falls as a power of size and of tokens",
            "Kaplan et al. 2020, section 1.2, equations 1.1, 1.2, 1.5",
            {name: _of(tree, WITHOUT, "kaplan", name) for name in ("alpha_N", "alpha_D")},
        ),
        _above_zero(
            "The best loss falls as a power of compute",
            "Kaplan et al. 2020, section 1.2, equation 1.3",
            {"alpha_C": _of(tree, WITHOUT, "compute", "alpha_C")},
        ),
        _holds(
            "The best size grows as C^0.73, embeddings not counted",
            "Kaplan et al. 2020, section 6.1, equation 1.7",
            0.73,
            {
                name: _of(tree, WITHOUT, "exponents", name)
                for name in ("isoFLOP parabolas", "parametric loss")
            },
        ),
        _holds(
            "The best size grows as C^0.5, size and tokens alike",
            "Hoffmann et al. 2022, section 3.4, table 2",
            0.5,
            {name: _of(tree, ALL, "exponents", name) for name in ("isoFLOP parabolas", "parametric loss")},
        ),
        _agree(tree),
        _counting(tree),
        _schedules(runs),
        *_batches(tree),
    ]
    return Table("claims", "What the papers claim", HEADER, rows)


def _of(tree: Tree, count: str, *keys: str) -> Tree | None:
    found: Any = tree["counts"].get(count)
    for key in keys:
        found = found and found.get(key)
    return found


def _above_zero(claim: str, paper: str, found: Mapping[str, Tree | None]) -> list[str]:
    there = {name: each for name, each in found.items() if each}
    if len(there) < len(found):
        return [claim, paper, "", UNMEASURED, ""]
    lows, highs = [each["low"] for each in there.values()], [each["high"] for each in there.values()]
    verdict = SEEN if min(lows) > 0 else NOT_SEEN if max(highs) < 0 else NOISE
    return [claim, paper, _figures(there), verdict, "95% intervals, bootstrap over runs, above zero"]


def _holds(claim: str, paper: str, value: float, found: Mapping[str, Tree | None]) -> list[str]:
    there = {name: each for name, each in found.items() if each}
    if not there:
        return [claim, paper, "", UNMEASURED, ""]
    holds = {name: each["low"] <= value <= each["high"] for name, each in there.items()}
    verdict = (
        SEEN if all(holds.values()) else NOT_SEEN if not any(holds.values()) else "by one approach of two"
    )
    return [claim, paper, _figures(there), verdict, f"95% intervals, bootstrap over runs, hold {value:g}"]


def _figures(found: Mapping[str, Tree]) -> str:
    return "; ".join(f"{name} {interval(each)}" for name, each in found.items())


def _agree(tree: Tree) -> list[str]:
    claim, paper = "Three approaches agree on the exponent of the best size", "Hoffmann et al. 2022, table 2"
    found = {name: each for name, each in (_of(tree, ALL, "exponents") or {}).items() if each}
    if len(found) < 3:
        return [claim, paper, _figures(found), UNMEASURED, ""]
    meet = max(each["low"] for each in found.values()) <= min(each["high"] for each in found.values())
    return [
        claim,
        paper,
        _figures(found),
        SEEN if meet else NOT_SEEN,
        "all 95% intervals have a point in common",
    ]


def _counting(tree: Tree) -> list[str]:
    """Return the claim of Porian et al. and of Pearce and Song: the same resamples, counted both ways."""
    claim = "The exponent is larger where embeddings are not counted, which is part of why Kaplan's is"
    paper = "Pearce and Song 2024, section 3; Porian et al. 2024, section 3"
    both = [_of(tree, count, "chinchilla") for count in (WITHOUT, ALL)]
    if not all(both):
        return [claim, paper, "", UNMEASURED, ""]
    drawn, values = (
        [laws.exponent(np.array(each[key])) for each in both if each] for key in ("draws", "theta")
    )
    difference = of_resamples(float(values[0] - values[1]), drawn[0] - drawn[1])._asdict()
    figures = (
        f"{number(float(values[0]))} against {number(float(values[1]))}, difference {interval(difference)}"
    )
    verdict = SEEN if difference["low"] > 0 else NOT_SEEN if difference["high"] < 0 else NOISE
    return [
        claim,
        paper,
        figures,
        verdict,
        "95% interval of the difference, the same resamples of runs in both",
    ]


def _schedules(runs: Runs) -> list[str]:
    """Return the claim on schedules: a run's loss on its way against what runs that end there come to."""
    claim = "On its way a run is worse than one whose schedule ends there"
    paper = "Hoffmann et al. 2022, section 3.1 and figure A1"
    count = runs.counts[0]
    ends = {float(each.parameters[0]): each for each in approaches.by_size(runs.results.counted(count))}
    way = runs.of(np.flatnonzero(~runs.last)).counted(count)
    off = []
    for size, tokens, loss in zip(way.parameters, way.tokens, way.loss, strict=True):
        curve = ends[float(size)]
        if curve.tokens[0] <= tokens <= curve.tokens[-1]:
            there = np.exp(np.interp(np.log(tokens), np.log(curve.tokens), np.log(curve.loss)))
            off.append(float(loss - there))
    if len(off) < 3:
        return [claim, paper, "", UNMEASURED, ""]
    mean, error = float(np.mean(off)), float(np.std(off, ddof=1) / np.sqrt(len(off)))
    half = float(t.ppf(0.975, len(off) - 1)) * error
    figures = (
        f"{mean:+.3f} nats [{mean - half:+.3f}, {mean + half:+.3f}], {len(off)} points of training curves"
    )
    verdict = SEEN if mean > half else NOT_SEEN if mean < -half else NOISE
    return [
        claim,
        paper,
        figures,
        verdict,
        "Student's 95% interval of the mean difference at equal size and tokens",
    ]


def _batches(tree: Tree) -> list[list[str]]:
    grows = "The critical batch grows as loss falls, as L^(-1 / alpha_B) with alpha_B of 0.21"
    paper = "McCandlish et al. 2018, section 2.2; Kaplan et al. 2020, section 5.1, equation 1.4"
    alone = "At one loss it does not depend on the size"
    found = tree["critical_batch"]
    if not found:
        return [
            [grows, paper, "", UNMEASURED, ""],
            [alone, "Kaplan et al. 2020, section 5.1", "", UNMEASURED, ""],
        ]
    slope, size = found["slope"], found["size_slope"]
    tokens = [number(each) for each in found["tokens"]]
    losses = [f"{each:.2f}" for each in found["losses"]]
    figures = (
        f"{tokens[0]} tokens at {losses[0]} nats, {tokens[1]} at {losses[1]}; exponent of L {interval(slope)}, "
        f"the paper's {-1 / 0.21:.1f}"
    )
    statistics = f"95% interval, bootstrap over runs, {found['points']} gradients"
    verdict = SEEN if slope["high"] < 0 else NOT_SEEN if slope["low"] > 0 else NOISE
    free = SEEN if size["low"] <= 0 <= size["high"] else NOT_SEEN
    return [
        [grows, paper, figures, verdict, f"{statistics}: below zero"],
        [
            alone,
            "Kaplan et al. 2020, section 5.1",
            f"exponent of N at equal loss {interval(size)}",
            free,
            f"{statistics}: holds zero",
        ],
    ]
