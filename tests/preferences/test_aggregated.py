"""One label from several: the majority, Dawid and Skene on people of known errors, and where that is undefined."""

from __future__ import annotations

import random
from typing import Any

import pytest

from jokbo.preferences.aggregated import Comparison, Label, dawid_skene, given_by, majority, one_of_each

ERRORS = {"ann": 0.05, "bo": 0.1, "cy": 0.45, "di": 0.45, "ed": 0.45}


def said_by(
    errors: dict[str, float], count: int = 400
) -> tuple[dict[Comparison, Label], dict[Comparison, Any]]:
    """The truth of comparisons, and what people say who err so often."""
    rng, truth, given = random.Random(1), {}, {}
    for number in range(count):
        comparison = (f"{number:04}",)
        truth[comparison] = rng.choice([0, 1])
        given[comparison] = {
            name: 1 - truth[comparison] if rng.random() < error else truth[comparison]
            for name, error in errors.items()
        }
    return truth, given


def right(labels: dict[Comparison, Label], truth: dict[Comparison, Label]) -> float:
    return sum(labels[each] == label for each, label in truth.items()) / len(truth)


def test_who_errs_often_counts_for_less_than_in_the_majority() -> None:
    truth, given = said_by(ERRORS)
    found = dawid_skene(given)
    assert right(dict(found.labels), truth) > right(majority(given), truth) + 0.05
    for name, error in ERRORS.items():
        assert found.reliability[name] == pytest.approx(1 - error, abs=0.06)
    assert min(found.probability.values()) >= 0.5
    assert dawid_skene(given) == found


def test_the_majority_of_as_many_on_both_sides_is_a_tie() -> None:
    given = {
        ("a",): {"ann": 0, "bo": 1},
        ("b",): {"ann": 1, "bo": 1, "cy": 0},
        ("c",): {"ann": None, "bo": None},
    }
    assert majority(given) == {("a",): None, ("b",): 1, ("c",): None}


def test_two_people_whom_nothing_tells_apart_make_a_tie() -> None:
    given = {("a",): {"ann": 0, "bo": 1}, ("b",): {"ann": 1, "bo": 0}}
    assert set(dawid_skene(given).labels.values()) == {None}


def test_ties_are_a_label_of_their_own() -> None:
    given = {(str(i),): dict.fromkeys(("ann", "bo", "cy"), (0, 1, None)[i % 3]) for i in range(12)}
    found = dawid_skene(given)
    assert found.labels == majority(given)
    assert found.reliability == pytest.approx({"ann": 1.0, "bo": 1.0, "cy": 1.0})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "it needs two people or more"),
        ({("a",): {"ann": 0}, ("b",): {"ann": 1}}, "it needs two people or more"),
        ({("a",): {"ann": 0}, ("b",): {"bo": 1}}, "no two people have judged the same responses"),
        ({("a",): {"ann": None, "bo": None}, ("b",): {"bo": None}}, "all said the same of all comparisons"),
    ],
)
def test_where_the_model_is_undefined_it_says_why(given: dict[Comparison, Any], why: str) -> None:
    found = dawid_skene(given)
    assert (found.why_none, dict(found.labels)) == (why, {})


def pair(name: str, choice: Label) -> dict[str, Any]:
    more = {"time": "2026-01-31T12:00:00Z", "source": "film", "agreement": 1.0, "by_policy": True}
    return {"prompt": "p", "responses": ["a", "b"], "choice": choice, "labeller": name, **more}


def test_of_each_comparison_is_one_pair_of_nobody_with_the_share_that_says_so() -> None:
    pairs = [pair("ann", 0), pair("bo", 1), pair("cy", 1)]
    (found,) = one_of_each(pairs, majority(given_by(pairs)))
    assert (found["choice"], found["labeller"], found["time"]) == (1, None, None)
    assert found["agreement"] == pytest.approx(2 / 3)
    assert pairs[0]["choice"] == 0
