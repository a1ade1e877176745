"""Scores, intervals, verdicts and figures of runs that are made up."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from jokbo.comparison.verdicts import NOISE, NOT_SEEN, SEEN, UNMEASURED
from jokbo.control import figures, settings, table
from jokbo.runtime.errors import InputError

SHIPPED = Path(__file__).parent.parent.parent / settings.FILE
SEEDS = 5


def made_up(means: dict[str, float], spread: float = 1.0) -> dict:
    """Runs of settings whose mean scores are given, on two tasks of different scales."""
    rng, rows = np.random.default_rng(0), []
    for task, (low, high) in {"cartpole": (20.0, 500.0), "acrobot": (-500.0, -80.0)}.items():
        for name, mean in means.items():
            for seed in range(SEEDS):
                at = low + (high - low) * (mean + 0.02 * spread * rng.normal())
                points = [
                    {"steps": 100.0},
                    {"steps": 200.0, "return": at - 1},
                    {"steps": 300.0, "return": at},
                ]
                rows.append({"task": task, "setting": name, "seed": seed, "return": at, "points": points})
    random = {"cartpole": [19.0, 20.0, 21.0], "acrobot": [-500.0] * 3}
    return table.comparison(settings.load(SHIPPED), rows, random)


PLANTED = {f"ppo: {name}": 0.5 + score / 2 for name, score in table.PAPER.items()} | {
    "a2c": 0.4,
    "a3c": 0.7,
    "a3c_alone": 0.7,
}


def verdicts(found: dict) -> dict[str, str]:
    return {row[2]: row[4] for row in table.claims(found).rows}


def test_a_score_is_0_at_random_and_1_for_the_best_run() -> None:
    found = made_up({"a2c": 0.5, "a3c": 0.9})
    a2c, a3c = (
        {task: table.returns(found, name, task) for task in found["tasks"]} for name in ("a2c", "a3c")
    )
    best = {task: max(*a2c[task].values(), *a3c[task].values()) for task in found["tasks"]}
    expected = [
        fmean(
            [
                (a2c["cartpole"][seed] - 20) / (best["cartpole"] - 20),
                (a2c["acrobot"][seed] + 500) / (best["acrobot"] + 500),
            ]
        )
        for seed in range(SEEDS)
    ]
    assert table.scores(found)["a2c"] == pytest.approx(expected)


def test_the_interval_is_students() -> None:
    values = [1.0, 4.0, 2.5, 3.0]
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    found = table.estimate(values)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))


def test_what_is_planted_is_seen_and_what_is_not_is_not() -> None:
    said = verdicts(made_up(PLANTED))
    assert said["clipping scores above no clipping or penalty"] == SEEN
    assert said["the scores of the surrogates stand in table 1's order"] == SEEN
    assert said["A2C does as well as A3C, or better"] == NOT_SEEN
    assert said["workers side by side learn more stably than one, at equal steps"] == NOISE
    rate = settings.load(SHIPPED).algorithms["ppo_fast"].learning_rate
    harder = {
        text: verdict for text, verdict in said.items() if f"not the paper's: learning rate {rate}," in text
    }
    assert [*harder.values()] == [UNMEASURED] * 4
    assert {*verdicts(made_up(dict.fromkeys(PLANTED, 0.5), 5)).values()} <= {NOISE, UNMEASURED, SEEN}


def test_a_chance_is_welchs_and_a_setting_needs_two_seeds() -> None:
    found = made_up(PLANTED)
    scored = table.scores(found)
    row = next(
        row for row in table.claims(found).rows if row[2].startswith("PPO by clipping scores above A2C")
    )
    chance = ttest_ind(scored["ppo: clipping, ε = 0.2"], scored["a2c"], equal_var=False).pvalue
    assert row[5].startswith(f"{chance:.2g}, corrected ")
    found["rows"].pop()
    assert len(table.scores(found)["a3c_alone"]) == SEEDS - 1
    found["rows"] = [row for row in found["rows"] if row["setting"] != "a3c_alone" or row["seed"] == 0]
    assert "a3c_alone" not in table.scores(found)
    said = verdicts(found)["workers side by side learn more stably than one, at equal steps"]
    assert said == UNMEASURED


def test_the_table_has_the_papers_scores_beside_ours() -> None:
    made = table.table(made_up(PLANTED))
    rows = {row[0]: row for row in made.rows}
    assert rows["random policy"][1:] == ["20.0", "-500.0", "0", table.DASH]
    assert rows["ppo: clipping, ε = 0.2"][-1] == "0.82"
    assert rows["a2c"][-1] == table.DASH
    assert all(len(row) == len(made.header) for row in made.rows)


def test_a_task_that_nobody_learns_is_one_line() -> None:
    with pytest.raises(InputError, match="cartpole: no run is better than chance, so there are no scores"):
        table.scores(made_up({"a2c": -0.5}))


def test_figures_are_the_same_bytes_and_leave_out_points_without_a_return() -> None:
    found = made_up(PLANTED)
    charts = figures.charts(found)
    assert [chart.name for chart in charts][:2] == ["control-cartpole-workers", "control-cartpole-surrogates"]
    assert figures.svg(charts[0]) == figures.svg(figures.charts(found)[0])
    curve = figures.curve(found, "a2c", "cartpole")
    assert curve is not None
    assert curve[0] == [200.0, 300.0]
    assert curve[1][1] == pytest.approx(fmean(table.returns(found, "a2c", "cartpole").values()), rel=1e-4)
    assert figures.curve(found, "nothing", "cartpole") is None
