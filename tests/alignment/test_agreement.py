"""How often rewards agree with people, by groups of pairs, against pairs that are counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from jokbo.alignment import agreement


def row(number: int, choice: int, **changes: Any) -> dict[str, Any]:
    made = {"prompt": f"{number} ", "responses": ["a b", "c d"], "choice": choice, "agreement": 1.0}
    return {**made, "source": "mine", "labeller": "ana", **changes}


ROWS = [
    row(0, 0),
    row(1, 1, labeller=None, agreement=0.7),
    row(2, 0, labeller="bo", agreement=0.75),
    row(3, 1, labeller="bo", agreement=0.6667, source="yours"),
]
LEADS = torch.tensor([1.0, -1.0, 2.0, 0.5])


def shares(groups: Any) -> dict[str, tuple[int, float]]:
    return {each.group: (each.comparisons, each.accuracy["value"]) for each in groups}


def test_accuracy_is_told_by_labeller_source_and_agreement() -> None:
    found = agreement.of_margins(LEADS, ROWS)
    assert found.accuracy["value"] == 0.75
    assert shares(found.accuracy_by_labeller) == {"ana": (1, 1), "bo": (2, 1), "nobody named": (1, 0)}
    assert shares(found.accuracy_by_agreement) == {
        "0.6 to 0.7": (1, 1),
        "0.7 to 0.8": (2, 0.5),
        "1.0": (1, 1),
    }
    assert {name: each["value"] for name, each in found.accuracy_by_source.items()} == {
        "mine": pytest.approx(2 / 3),
        "yours": 1,
    }


@pytest.mark.parametrize(
    ("preferred", "other", "name"),
    [
        (2, 12, "shorter by 10 words or more"),
        (3, 12, "shorter by 3 to 9"),
        (2, 5, "shorter by 3 to 9"),
        (3, 5, "as long within 2"),
        (5, 3, "as long within 2"),
        (6, 3, "longer by 3 to 9"),
        (12, 3, "longer by 3 to 9"),
        (12, 2, "longer by 10 or more"),
    ],
)
@pytest.mark.parametrize("choice", [0, 1])
def test_a_pair_is_in_the_group_of_its_difference_in_words(
    preferred: int, other: int, name: str, choice: int
) -> None:
    texts = ["w " * preferred, "v " * other]
    pair = row(0, choice, responses=texts if choice == 0 else texts[::-1])
    found = agreement.of_margins(torch.tensor([1.0]), [pair])
    assert shares(found.accuracy_by_length) == {name: (1, 1)}


def test_pairs_that_share_a_text_are_not_taken_for_independent() -> None:
    """Ten pairs of one response are right and ten of another wrong: that is two findings, not twenty."""
    leads = torch.tensor([1.0] * 10 + [-1.0] * 10)
    shared = [row(0, 0, responses=["good" if number < 10 else "bad", f"b{number}"]) for number in range(20)]
    apart = [row(0, 0, responses=[f"a{number}", f"b{number}"]) for number in range(20)]
    wide, narrow = (
        agreement.of_margins(leads, rows).accuracy_by_labeller[0].accuracy for rows in (shared, apart)
    )
    assert wide["value"] == narrow["value"] == 0.5
    assert (wide["units"], narrow["units"]) == (22, 40)
    assert wide["standard_error"] > 2 * narrow["standard_error"]
