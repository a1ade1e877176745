"""What the runs came to: returns and scores with intervals over seeds, and the papers' claims.

A comparison is plain data (control/table.json), from which table, claims and figures are made:
    tasks          by name `environment`, `steps`, and `random`: the mean return of a policy that chooses at random
    last_episodes  of a training whose mean return is its result
    learning_rates by algorithm
    rows           one a run: `task`, `setting`, `seed`, `return`, and `points` of its learning curve

A score is a return with 0 for the random policy and 1 for the best run of the task (Schulman et al. 2017, section 6.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any, NamedTuple

from scipy.stats import kendalltau, t, ttest_1samp, ttest_ind

from jokbo.comparison.verdicts import LEVEL, NOISE, NOT_SEEN, SEEN, UNMEASURED, holm
from jokbo.control.settings import AdaptiveKl, Clip, ControlParams, FixedKl, Unclipped
from jokbo.reporting.tables import DASH, PLUS_MINUS, Table
from jokbo.runtime.errors import InputError

Comparison = Mapping[str, Any]
# Schulman et al. 2017, table 1: the score of each surrogate over seven tasks of MuJoCo
PAPER = {
    Unclipped(kind="none").label: -0.39,
    **{Clip(kind="clip", epsilon=own).label: score for own, score in ((0.1, 0.76), (0.2, 0.82), (0.3, 0.70))},
    **{
        AdaptiveKl(kind="adaptive_kl", target=own, beta=1.0).label: score
        for own, score in ((0.003, 0.68), (0.01, 0.74), (0.03, 0.71))
    },
    **{
        FixedKl(kind="fixed_kl", beta=own).label: score
        for own, score in ((0.3, 0.62), (1.0, 0.71), (3.0, 0.72), (10.0, 0.69))
    },
}
NONE, CLIP, ADAPTIVE, FIXED = (
    "no clipping or penalty",
    "clipping, ε = 0.2",
    "adaptive KL, d_targ = 0.01",
    "fixed KL, β = 3",
)  # of each family the paper's best
RULE = (
    "A difference is of mean scores over seeds, by Welch's t-test, with its 95% interval. A claim is seen, or not seen "
    f"where the difference is below zero, at a level of {LEVEL:.0%} for all claims together (Holm 1979); the rest is "
    "within noise."
)


class Estimate(NamedTuple):
    """A mean over seeds, and half the width of its 95% interval by Student's t."""

    mean: float
    half: float

    def shown(self, digits: int) -> str:
        return f"{self.mean:.{digits}f} {PLUS_MINUS} {self.half:.{digits}f}"


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of two values or more, and half of its interval."""
    half = float(t.ppf(1 - LEVEL / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Estimate(fmean(values), half)


def comparison(
    params: ControlParams, rows: Sequence[Mapping[str, Any]], random: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """Return the comparison of runs that have ended, without what of them is neither compared nor drawn."""
    dropped, drawn, shown = ("seconds", "machine"), ("steps", "return"), "{:.5g}".format
    tasks = {
        name: {**own.model_dump(), "random": fmean(random[name]), "random_half": estimate(random[name]).half}
        for name, own in params.tasks.items()
    }
    kept = [
        {key: value for key, value in row.items() if key not in dropped}
        | {
            "points": [
                {name: float(shown(point[name])) for name in drawn if name in point}
                for point in row["points"]
            ]
        }
        for row in rows
    ]
    rates = {name: own.learning_rate for name, own in params.algorithms.items()}
    return {"tasks": tasks, "last_episodes": params.last_episodes, "learning_rates": rates, "rows": kept}


def returns(found: Comparison, setting: str, task: str) -> dict[int, float]:
    """Return what each seed's run came to."""
    return {
        row["seed"]: row["return"]
        for row in found["rows"]
        if (row["setting"], row["task"]) == (setting, task)
    }


def scores(found: Comparison) -> dict[str, list[float]]:
    """Return the score of each setting and seed: its mean over tasks. InputError if no run is better than chance.

    A seed that has not ended on every task is left out, and a setting with fewer than two that have.
    """
    bounds = {task: (own["random"], _best(found, task)) for task, own in found["tasks"].items()}
    scored = {}
    for name in dict.fromkeys(row["setting"] for row in found["rows"]):
        by_task = {task: returns(found, name, task) for task in found["tasks"]}
        seeds = [
            seed for seed in next(iter(by_task.values())) if all(seed in own for own in by_task.values())
        ]
        if len(seeds) > 1:
            scored[name] = [
                fmean((by_task[task][seed] - low) / (best - low) for task, (low, best) in bounds.items())
                for seed in seeds
            ]
    return scored


def _best(found: Comparison, task: str) -> float:
    """Return the return of the best run of a task; without runs, infinite."""
    best = max((row["return"] for row in found["rows"] if row["task"] == task), default=float("inf"))
    if best <= found["tasks"][task]["random"]:
        raise InputError(f"{task}: no run is better than chance, so there are no scores: give it more steps")
    return best


def table(found: Comparison) -> Table:
    """Return the settings: returns by task, score, and the paper's score where it has one."""
    scored, tasks = scores(found), found["tasks"]
    rows = [["random policy", *(f"{own['random']:.1f}" for own in tasks.values()), "0", DASH]]
    for name, own in scored.items():
        shown = [estimate([*returns(found, name, task).values()]).shown(1) for task in tasks]
        paper = PAPER.get(name.removeprefix("ppo: "))
        rows.append([name, *shown, estimate(own).shown(2), f"{paper:.2f}" if paper is not None else DASH])
    seeds = len(next(iter(scored.values()), []))
    told = (
        f"Mean return of the last {found['last_episodes']} episodes of a training, {seeds} seeds, with 95% intervals "
        "by Student's t. Score: 0 is the random policy, 1 the best run of the task, a mean over tasks. Paper's score: "
        "table 1 of Schulman et al. 2017, of seven other tasks"
    )
    steps = [f"{name}, {own['environment']}, {own['steps']:,} steps" for name, own in tasks.items()]
    return Table("control", told, ["Setting", *steps, "Score", "Paper's score"], rows)


class Claim(NamedTuple):
    """What a paper says, the figures on it here, and the chance of a difference so large if there were none."""

    paper: str
    section: str
    text: str
    figures: str
    difference: float
    chance: float | None  # None: not measured


def claims(found: Comparison) -> Table:
    """Return each claim with its verdict."""
    scored = scores(found)
    told = [*_of_surrogates(scored, found["learning_rates"]), _order(scored), *_of_workers(scored)]
    corrected = iter(holm([each.chance for each in told if each.chance is not None]))
    rows = []
    for each in told:
        chance = None if each.chance is None else next(corrected)
        verdict, shown = UNMEASURED, DASH
        if chance is not None:
            verdict = NOISE if chance >= LEVEL else SEEN if each.difference > 0 else NOT_SEEN
            shown = f"{each.chance:.2g}, corrected {chance:.2g}"
        rows.append([each.paper, each.section, each.text, each.figures, verdict, shown])
    header = ["Paper", "Section", "Claim", "Figures here", "Verdict", "Chance"]
    return Table("control-claims", RULE, header, rows)


def _of_surrogates(scored: Mapping[str, Sequence[float]], rates: Mapping[str, float]) -> list[Claim]:
    paper, section = "Schulman et al. 2017", "6.1, table 1"
    said = {
        (CLIP, NONE): "clipping scores above no clipping or penalty",
        (CLIP, ADAPTIVE): "clipping scores above an adaptive KL penalty",
        (CLIP, FIXED): "clipping scores above a fixed KL penalty",
        (ADAPTIVE, NONE): "an adaptive KL penalty scores above none",
    }
    told = []
    harder = f" (harder, not the paper's: learning rate {rates.get('ppo_fast')}, not {rates.get('ppo')})"
    for algorithm, note in (("ppo", ""), ("ppo_fast", harder)):
        for (one, other), text in said.items():
            told.append(
                _compared(
                    scored, (paper, section, text + note), (f"{algorithm}: {one}", f"{algorithm}: {other}")
                )
            )
    return told


def _of_workers(scored: Mapping[str, Sequence[float]]) -> list[Claim]:
    mnih, schulman = "Mnih et al. 2016", "Schulman et al. 2017"
    learns = "A3C learns: it scores above the random policy"
    own = scored.get("a3c")
    first = Claim(mnih, "5", learns, DASH, 0.0, None)
    if own:
        tested: Any = ttest_1samp(own, 0.0)
        chance = _sure(float(tested.pvalue), fmean(own))
        first = Claim(mnih, "5", learns, estimate(own).shown(2), fmean(own), chance)
    pairs = {
        (mnih, "4, 5.4", "workers side by side learn more stably than one, at equal steps"): (
            "a3c",
            "a3c_alone",
        ),
        (schulman, "6.2", "A2C does as well as A3C, or better"): ("a2c", "a3c"),
        (schulman, "6.2, 6.4", "PPO by clipping scores above A2C"): (f"ppo: {CLIP}", "a2c"),
        (schulman, "1", "PPO by clipping scores above A3C"): (f"ppo: {CLIP}", "a3c"),
    }
    return [first, *(_compared(scored, said, names) for said, names in pairs.items())]


def _compared(
    scored: Mapping[str, Sequence[float]], said: tuple[str, str, str], names: tuple[str, str]
) -> Claim:
    """Return the claim that the first of two settings scores above the second."""
    if any(name not in scored for name in names):
        return Claim(*said, DASH, 0.0, None)
    one, other = (scored[name] for name in names)
    tested: Any = ttest_ind(one, other, equal_var=False)
    low, high = tested.confidence_interval(1 - LEVEL)
    difference = fmean(one) - fmean(other)
    figures = f"{fmean(one):.2f} and {fmean(other):.2f}: {difference:+.2f} ({low:+.2f} to {high:+.2f})"
    return Claim(*said, figures, difference, _sure(float(tested.pvalue), difference))


def _sure(chance: float, difference: float) -> float:
    """Return the chance; where no seed differs from another there is none, but by a difference."""
    return chance if chance == chance else float(difference == 0)


def _order(scored: Mapping[str, Sequence[float]]) -> Claim:
    """Return the claim that the order of table 1's scores is the order here: Kendall's tau of the means."""
    said = ("Schulman et al. 2017", "6.1, table 1", "the scores of the surrogates stand in table 1's order")
    names = [name for name in PAPER if f"ppo: {name}" in scored]
    if len(names) < len(PAPER):
        return Claim(*said, DASH, 0.0, None)
    tau: Any = kendalltau([PAPER[name] for name in names], [fmean(scored[f"ppo: {name}"]) for name in names])
    figures = f"Kendall's tau of {len(names)} means {tau.statistic:+.2f}"
    return Claim(*said, figures, float(tau.statistic), _sure(float(tau.pvalue), float(tau.statistic)))
