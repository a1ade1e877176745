"""Which answered examples are drawn: a function of the seed, balanced where that is asked, never the question."""

from __future__ import annotations

from collections import Counter

import pytest

from jokbo.prompting import examples
from jokbo.prompting.task import Row
from jokbo.runtime.errors import InputError

OPTIONS = ("bad", "good")
POOL = [Row(f"film {number}", OPTIONS, int(number % 5 == 0)) for number in range(40)]  # 32 bad, 8 good


def test_a_seed_draws_the_same_each_time() -> None:
    first, again, other = (examples.drawn(POOL, seed, balanced=False) for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(first) == sorted(POOL)


@pytest.mark.parametrize("seed", range(5))
def test_balanced_examples_have_as_many_of_each_class(seed: int) -> None:
    order = examples.drawn(POOL, seed, balanced=True)
    assert sorted(order) == sorted(POOL)
    for k in range(2, 16, 2):
        assert Counter(row.right for row in order[:k]) == {0: k // 2, 1: k // 2}


def test_the_first_of_balanced_examples_is_of_any_class() -> None:
    assert {examples.drawn(POOL, seed, balanced=True)[0].right for seed in range(20)} == {0, 1}


def test_a_question_is_not_among_its_examples() -> None:
    order = examples.drawn(POOL, 1, balanced=False)
    asked = order[1]
    assert examples.before(asked, order, 3) == [order[0], order[2], order[3]]


def test_too_few_to_draw_from() -> None:
    examples.check(POOL, 39, balanced=True)
    with pytest.raises(InputError, match="40 examples: there are 39 to draw from"):
        examples.check(POOL, 40, balanced=False)
    with pytest.raises(InputError, match="each row has options of its own"):
        examples.check([*POOL, Row("film", ("yes", "no"), 0)], 1, balanced=True)
