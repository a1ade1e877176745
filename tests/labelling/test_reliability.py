"""How far people can be relied on: votes of people whose attention and side are known."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.optimize import check_grad

from jokbo.labelling.reliability import Choices, labels_of, objective, readings
from jokbo.preferences.batch import Vote
from tests.labelling.test_agreement import vote

# how often they read, and how often they choose the first side where they do not
PEOPLE = {"ann": (1.0, 0.5), "bo": (0.9, 0.5), "cy": (0.3, 0.9), "di": (0.3, 0.1)}


def votes_of(people: dict[str, tuple[float, float]], items: int = 300) -> list[Vote]:
    rng, found = random.Random(1), []
    for item in range(items):
        better = rng.choice([0, 1])
        for name, (attention, first) in people.items():
            shown = rng.sample([0, 1], 2)
            chosen = better if rng.random() < attention else shown[rng.random() >= first]
            found.append(vote(item, name, chosen, shown=shown))
    return found


def test_who_chooses_by_the_side_is_told_from_who_reads_and_by_which_side() -> None:
    found = readings(votes_of(PEOPLE))
    assert min(found["ann"].attention, found["bo"].attention) > 0.8
    assert max(found["cy"].attention, found["di"].attention) < 0.55
    assert found["cy"].first_side > 0.8
    assert found["di"].first_side < 0.2


def test_the_gradient_is_that_of_the_posterior() -> None:
    rng = np.random.default_rng(1)
    first_N = rng.integers(5, size=60)
    second_N = (first_N + rng.integers(1, 5, size=60)) % 5
    data = Choices(
        first_N, second_N, rng.integers(3, size=60), rng.choice([-1.0, 1.0], 60), texts=5, people=3
    )
    values = rng.normal(size=11)
    off = check_grad(lambda x: objective(x, data)[0], lambda x: objective(x, data)[1], values)
    assert off < 1e-4


@pytest.mark.parametrize(
    "votes",
    [
        [],
        [vote(1, "ann", 0), vote(2, "ann", 1)],
        [vote(1, "ann", 0), vote(2, "bo", 1)],
        [vote(1, "ann", "tie"), vote(1, "bo", "bad")],
    ],
)
def test_too_few_votes_say_nothing(votes: list[Vote]) -> None:
    assert readings(votes) == {}


def test_labels_are_of_every_two_responses_and_both_bad_is_a_tie() -> None:
    votes = [
        vote(1, "ann", [[2], [0, 1]]),
        vote(2, "ann", "bad"),
        vote(2, "bo", 1),
        vote(3, "bo", 1, gold=True),
    ]
    assert labels_of(votes) == {
        ("1", "0", "1"): {"ann": None},
        ("1", "0", "2"): {"ann": 1},
        ("1", "1", "2"): {"ann": 1},
        ("2", "0", "1"): {"ann": None, "bo": 1},
    }
