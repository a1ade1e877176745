"""`python -m benchmarks.labelling` on a few labels: it measures the real page, and tells what is wrong with votes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.labelling import PEOPLE, Person, by_client, measure, wrong
from jokbo.preferences.batch import Vote
from tests.labelling.test_agreement import vote

ITEMS = 9


def test_a_few_labels_with_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOKBO_LABELS", raising=False)
    people, votes = measure(ITEMS, 1, by_client)
    assert len(votes) == ITEMS * len(PEOPLE)
    assert wrong(people, votes) == []
    assert all(len(person.milliseconds) + person.again >= ITEMS for person in people)


def given(item: str, key: str) -> Vote:
    return replace(vote(0, "ann", {"1": 0, "2": 1, "0": "tie", "9": "bad"}[key]), item=item)


def test_what_is_wrong_is_counted() -> None:
    ann = Person("ann", shown=["0", "1", "2", "3"])  # keys 1, 2, 0, 9
    votes = [given("0", "1"), given("1", "2"), given("2", "0"), given("3", "9")]
    assert wrong([ann], votes) == []
    assert wrong([ann], votes[1:]) == ["1 votes are lost"]
    assert wrong([ann], [*votes, votes[0]]) == ["1 votes are doubled"]
    assert wrong([ann], [given("0", "2"), *votes[1:]]) == ["1 votes do not say what was chosen"]
    assert wrong([replace(ann, shown=["0", *ann.shown])], votes) == ["1 items were given to one person twice"]
    assert wrong([replace(ann, shown=["0", "1", "2"])], votes) == ["1 votes are there that nobody gave"]
