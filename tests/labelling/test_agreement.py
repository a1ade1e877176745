"""Agreement: alpha by its definition, its interval, and words where there is none."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from jokbo.labelling.agreement import alpha, people, said
from jokbo.preferences.batch import Vote

NUMBERS = count(1)
RANKINGS: dict[Any, tuple[list[list[int]], bool]] = {
    0: ([[0], [1]], False),
    1: ([[1], [0]], False),
    "tie": ([[0, 1]], False),
    "bad": ([[0, 1]], True),
}


def vote(item: int, name: str, value: Any, **more: Any) -> Vote:
    ranking, both_bad = (value, False) if value is None or isinstance(value, list) else RANKINGS[value]
    values = {
        "number": next(NUMBERS),
        "batch": "b",
        "item": str(item),
        "gold": False,
        "prompt": "p",
        "responses": [str(i) for i in range(sum(map(len, ranking)) if ranking else 2)],
        "shown": [0, 1],
        "labeller": name,
        "time": "2026-01-31T12:00:00Z",
        "seconds": 1.0,
        "action": "judged" if ranking else "skipped",
        "ranking": ranking,
        "both_bad": both_bad,
    }
    return Vote(**values | more)


def test_alpha_is_krippendorffs() -> None:
    """On the data of Krippendorff (2011, C), four observers with missing values, without the fifth value: the page has
    four.
    """
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    values = {1: 0, 2: 1, 3: "tie", 4: "bad"}
    votes = [
        vote(item, str(name), values[value])
        for name, row in enumerate(rows)
        for item, value in enumerate(row)
        if value in values
    ]
    found = alpha(votes)
    assert found.value == pytest.approx(by_hand(rows, values), abs=1e-9)
    assert found.items == 10
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert "95% interval" in str(found)
    assert alpha(votes) == found


def by_hand(rows: list[list[Any]], values: dict[int, Any]) -> float:
    """Alpha from its definition: 1 less observed over expected disagreement, over all pairs of values."""
    units = [[row[i] for row in rows if row[i] in values] for i in range(len(rows[0]))]
    units = [unit for unit in units if len(unit) > 1]
    every = [value for unit in units for value in unit]
    observed = sum(
        sum(one != other for one in unit for other in unit) / (len(unit) - 1) for unit in units
    ) / len(every)
    expected = sum(one != other for one in every for other in every) / (len(every) * (len(every) - 1))
    return 1 - observed / expected


@pytest.mark.parametrize(
    ("votes", "why"),
    [
        ([], "no item has been judged by two people yet"),
        ([vote(1, "ann", 0), vote(2, "bo", 1)], "no item has been judged by two people yet"),
        ([vote(1, "ann", 0), vote(1, "bo", None)], "no item has been judged by two people yet"),
        ([vote(1, "ann", 0, gold=True), vote(1, "bo", 1, gold=True)], "no item has been judged by two"),
        (
            [vote(1, "ann", 0), vote(1, "bo", 0)],
            "all said the same of all items, so chance would agree as well",
        ),
    ],
)
def test_where_alpha_is_undefined_it_says_why(votes: list[Vote], why: str) -> None:
    found = alpha(votes)
    assert found.value is None
    assert f"Krippendorff's alpha is undefined: {why}" in str(found)


def test_an_interval_that_cannot_be_had_is_said() -> None:
    found = alpha([vote(1, "ann", 0), vote(1, "bo", 1), vote(2, "ann", 0), vote(2, "bo", 0)])
    assert found.value == pytest.approx(0.0)
    assert found.low is None
    assert "too few items differ for an interval" in str(found)


def test_both_bad_is_not_a_tie_and_what_was_taken_back_does_not_count() -> None:
    assert [value for _, value in said(vote(1, "ann", "bad"))] == ["bad"]
    assert [value for _, value in said(vote(1, "ann", "tie"))] == ["tie"]
    votes = [vote(1, "ann", "bad"), vote(1, "bo", "tie"), vote(2, "ann", 0), vote(2, "bo", 0)]
    assert [person.same for person in people(votes, {})] == [1, 1]
    back = vote(2, "bo", 0, action="withdrawn")
    assert [person.compared for person in people([*votes, back], {})] == [1, 1]


def test_a_ranking_says_one_of_every_two_responses() -> None:
    found = dict(said(vote(1, "ann", [[2], [0, 1]])))
    assert found == {("1", 0, 1): "tie", ("1", 0, 2): 1, ("1", 1, 2): 1}


def test_each_person_beside_the_others() -> None:
    votes = [
        *(vote(item, "ann", 0) for item in range(4)),
        *(vote(item, "bo", int(item == 0)) for item in range(3)),
        vote(3, "bo", None, reason="alike"),
        vote(9, "ann", 0, gold=True),
        vote(9, "bo", 1, gold=True),
    ]
    ann, bo = people(votes, {"9": [[0], [1]]})
    assert (ann.labels, ann.skipped, ann.compared, ann.same, ann.gold, ann.right) == (4, 0, 3, 2, 1, 1)
    assert (bo.labels, bo.skipped, bo.compared, bo.same, bo.gold, bo.right) == (4, 1, 3, 2, 1, 0)
