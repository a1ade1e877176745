from __future__ import annotations

import math

import numpy as np
import pytest

from jokbo.comparison import verdicts
from tests.comparison.made_up import TEST_ROWS, result


def test_errors_are_those_of_seeds_and_of_texts_drawn_again() -> None:
    """Against accuracies that are drawn as the rule assumes, many times."""
    draw, share, seeds, repeats = np.random.default_rng(0), 0.75, 3, 20_000
    texts_RT = np.stack([draw.binomial(rows, share, repeats) / rows for rows in TEST_ROWS.values()])
    seeds_RS = draw.normal(0, 0.02, (repeats, seeds))
    drawn = (texts_RT.mean(axis=0) + seeds_RS.mean(axis=1)).std()
    level = {task: {"accuracies": [share] * seeds, "mean": share, "sd": 0.02} for task in TEST_ROWS}
    claimed = verdicts.standard_error({"tasks": level, "mean": share, "sd": 0.02}, TEST_ROWS)
    assert claimed == pytest.approx(drawn, rel=0.03)


def test_without_a_cause_about_one_difference_in_twenty_is_called_one() -> None:
    draw = np.random.default_rng(1)

    def result_of_chance() -> dict:
        accuracies = {task: draw.binomial(rows, 0.75) / rows for task, rows in TEST_ROWS.items()}
        tasks = {task: {"accuracies": [mean], "mean": mean, "sd": 0} for task, mean in accuracies.items()}
        return {"tasks": tasks, "mean": sum(accuracies.values()) / len(accuracies), "sd": 0.0}

    found = [
        verdicts.difference(result_of_chance(), result_of_chance(), TEST_ROWS).verdict for _ in range(1000)
    ]
    called = [verdict for verdict in found if verdict != verdicts.NOISE]
    assert 20 < len(called) < 80
    assert {verdicts.SEEN, verdicts.NOT_SEEN} == set(called)


def test_the_verdict_turns_at_two_errors_either_way() -> None:
    found = [verdicts.Difference(value, 0.01).verdict for value in (0.021, 0.019, 0.0, -0.019, -0.021)]
    seen, noise, not_seen = verdicts.SEEN, verdicts.NOISE, verdicts.NOT_SEEN
    assert found == [seen, noise, noise, noise, not_seen]


@pytest.mark.parametrize(
    "more", [{"sd": 0.05}, {"sd": 0.05, "seeds": 2}, {"mean": 0.5, "sd": 0.01}]
)  # a coin's variance is the largest
def test_more_noise_is_more_error(more: dict) -> None:
    calm = result(0.75, 0.01)
    assert verdicts.standard_error(result(**{"mean": 0.75} | more), TEST_ROWS) > verdicts.standard_error(
        calm, TEST_ROWS
    )
    fewer = {task: rows // 4 for task, rows in TEST_ROWS.items()}
    assert verdicts.over_texts(calm, fewer) == pytest.approx(2 * verdicts.over_texts(calm, TEST_ROWS))


def test_a_share_of_theirs_has_that_share_of_its_error() -> None:
    ours, theirs = result(0.75, 0.0), result(0.8, 0.03)
    kept = verdicts.difference(ours, theirs, TEST_ROWS, share=0.5)
    assert kept.value == pytest.approx(0.35)
    own, other = (verdicts.standard_error(each, TEST_ROWS) for each in (ours, theirs))
    assert kept.error == pytest.approx(math.hypot(own, other / 2))
