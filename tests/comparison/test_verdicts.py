from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from jokbo.comparison import verdicts
from jokbo.comparison.search import outcome, over_tasks
from jokbo.comparison.verdicts import contrast, gain, gain_over, holm, judged
from tests.comparison.made_up import result

STARTS = ("pretrained", "scratch")


def drawn(draw: np.random.Generator, seeds: int = 5, rows: tuple[int, ...] = (40, 60)) -> dict:
    """A result of chance: each seed right about each text by a coin."""
    tasks = {
        f"task {index}": outcome(draw.integers(0, 2, (seeds, count)), 0.5, 0.001)
        for index, count in enumerate(rows)
    }
    return {"tasks": tasks, **over_tasks(tasks)}


def test_a_difference_of_differences_and_its_error_are_those_of_sums_by_hand() -> None:
    """Text by text and seed by seed, in plain loops."""
    draw = np.random.default_rng(0)
    ours, theirs = ({start: drawn(draw) for start in STARTS} for _ in range(2))
    signed = [
        (1, ours["pretrained"]),
        (-1, ours["scratch"]),
        (-1, theirs["pretrained"]),
        (1, theirs["scratch"]),
    ]
    value, squared = 0.0, 0.0
    for sign, each in signed:
        by_seed = [sum(task["accuracies"][seed] for task in each["tasks"].values()) / 2 for seed in range(5)]
        value += sign * sum(by_seed) / 5
        mean = sum(by_seed) / 5
        squared += sum((one - mean) ** 2 for one in by_seed) / 4 / 5
    for task, rows in (("task 0", 40), ("task 1", 60)):
        texts = [
            sum(sign * int(each["tasks"][task]["right"][row]) / 5 for sign, each in signed)
            for row in range(rows)
        ]
        mean = sum(texts) / rows
        squared += sum((one - mean) ** 2 for one in texts) / (rows - 1) / rows / 4
    found = gain_over(ours, theirs)
    assert found.value == pytest.approx(value)
    assert found.error == pytest.approx(math.sqrt(squared))
    assert found.value == pytest.approx(gain(ours).value - gain(theirs).value)


def test_the_error_is_what_other_texts_and_seeds_would_change() -> None:
    """Against accuracies drawn many times, of two networks that find the same texts easy, and of seeds that differ."""
    draw, rows, seeds, repeats = np.random.default_rng(0), 500, 5, 1500
    values, errors = [], []
    for _ in range(repeats):
        easy_N = draw.uniform(0.2, 1.0, rows)
        sides = []
        for lift in (0.0, 0.05):
            chance_SN = np.clip(easy_N + lift + draw.normal(0, 0.03, (seeds, 1)), 0, 1)
            tasks = {"one": outcome((draw.uniform(size=(seeds, rows)) < chance_SN).astype(int), 0.5)}
            sides.append({"tasks": tasks, **over_tasks(tasks)})
        found = contrast((1, sides[1]), (-1, sides[0]))
        values.append(found.value)
        errors.append(found.error)
    assert (
        np.std(values) <= np.mean(errors) < 1.25 * np.std(values)
    )  # what texts do by chance is in both parts


def test_texts_that_both_find_easy_are_no_error_of_a_difference() -> None:
    same, other = result(0.75, 0.0, draw=1), result(0.75, 0.0, draw=2)
    assert contrast((1, result(0.75, 0.0, draw=1)), (-1, same)).error == 0
    assert contrast((1, other), (-1, same)).error > 0


def test_without_a_cause_about_one_difference_in_twenty_is_called_one() -> None:
    draw = np.random.default_rng(1)
    found = [
        gain_over(*({start: drawn(draw, seeds=1) for start in STARTS} for _ in range(2))) for _ in range(1000)
    ]
    called = [each.verdict for each in found if each.verdict != verdicts.NOISE]
    assert 20 < len(called) < 80
    assert {verdicts.SEEN, verdicts.NOT_SEEN} == set(called)
    assert np.mean([each.chance < 0.1 for each in found]) == pytest.approx(0.1, abs=0.03)


def test_the_verdict_turns_at_two_errors_either_way() -> None:
    found = [verdicts.Difference(value, 0.01).verdict for value in (0.021, 0.019, 0.0, -0.019, -0.021)]
    seen, noise, not_seen = verdicts.SEEN, verdicts.NOISE, verdicts.NOT_SEEN
    assert found == [seen, noise, noise, noise, not_seen]


def test_chances_are_corrected_as_in_holms_own_steps() -> None:
    """Worked by hand: the smallest times four, the next times three, each at least the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    for order in itertools.permutations(range(4)):
        chances = [0.01, 0.04, 0.03, 0.005]
        assert holm([chances[index] for index in order]) == pytest.approx(
            [[0.03, 0.06, 0.06, 0.02][index] for index in order]
        )


def test_of_many_claims_without_a_cause_hardly_a_set_has_one_that_is_seen() -> None:
    """At most one set of claims in twenty, where uncorrected it would be most of them."""
    draw = np.random.default_rng(2)
    wrong = 0
    for _ in range(400):
        found = [verdicts.Difference(value, 1.0) for value in draw.normal(size=20)]
        corrected = holm([each.chance for each in found])
        wrong += any(judged(*pair) != verdicts.NOISE for pair in zip(found, corrected, strict=True))
    assert wrong / 400 < 0.08


@pytest.mark.parametrize("more", [{"sd": 0.05}, {"sd": 0.05, "seeds": 2}, {"mean": 0.5, "sd": 0.01}])
def test_more_noise_is_more_error(more: dict) -> None:
    calm = result(0.75, 0.01)
    assert verdicts.standard_error(result(**{"mean": 0.75} | more)) > verdicts.standard_error(calm)


def test_a_share_of_theirs_has_that_share_of_its_error() -> None:
    ours, theirs = result(0.75, 0.0), result(0.8, 0.03)
    kept = contrast((1, ours), (-0.5, theirs))
    assert kept.value == pytest.approx(ours["mean"] - theirs["mean"] / 2)
    assert verdicts.over_seeds(theirs) / 2 < kept.error
