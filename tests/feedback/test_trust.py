"""How far a judge can be believed, by hand."""

from __future__ import annotations

import pytest

from jokbo.feedback import trust
from jokbo.feedback.verdicts import Pair, Unjudged, Verdict

PAIRS = [Pair(f"prompt {i}", "short", "much longer") for i in range(6)]


def verdict(as_a: float, as_b: float) -> Verdict:
    return Verdict((as_a, as_b), 0.9, (as_a + as_b) / 2)


SAID = [
    verdict(0.9, 0.8),  # the first response, in both orders
    verdict(0.2, 0.1),  # the second, which is longer
    verdict(0.2, 0.3),
    verdict(0.9, 0.3),  # what is shown first
    verdict(0.4, 0.9),  # what is shown second
    Unjudged.NEITHER,
]


def test_orders_place_and_length_are_counted_over_what_was_judged() -> None:
    found = trust.measured(PAIRS, SAID)
    assert (found.judged, found.ties, found.mass) == (5, 0.4, pytest.approx(0.9))
    assert found.consistent
    assert found.consistent["value"] == pytest.approx(3 / 5)
    assert found.first
    assert found.first["value"] == pytest.approx((0.5 * 3 + 1 + 0) / 5)
    assert found.longer
    assert found.longer["value"] == pytest.approx(2 / 3)
    assert found.consistent["units"] == 5  # prompts


def test_agreement_is_over_pairs_where_both_prefer_one() -> None:
    others = dict(zip(PAIRS, [0, 0, 1, 1, 1, 0], strict=True))
    found = trust.agreed(others, dict(zip(PAIRS, SAID, strict=True)))
    assert (found.pairs, found.ties, found.unjudged) == (6, 2, 1)
    assert found.same
    assert found.same["value"] == pytest.approx(2 / 3)
    assert found.likelier
    assert found.likelier["value"] == pytest.approx(
        2 / 5
    )  # 0.85, 0.15, 0.25, 0.6, 0.65 for the first response


def test_too_few_to_say_is_nothing() -> None:
    found = trust.measured(PAIRS[:1], SAID[:1])
    assert (found.consistent, found.first, found.longer) == (None, None, None)
    assert trust.agreed({PAIRS[3]: 0}, {PAIRS[3]: SAID[3]}).same is None
    alone = Pair("", "one", "other")  # two texts, but one value
    assert trust.agreed({alone: 0}, {alone: SAID[0]}).same is None


def test_of_several_votes_on_two_responses_the_majority_counts() -> None:
    def row(pair: Pair, choice: int | None) -> dict[str, object]:
        return {"prompt": pair.prompt, "responses": [pair.first, pair.second], "choice": choice}

    rows = [
        row(PAIRS[0], 1),
        row(PAIRS[0], 0),
        row(PAIRS[0], 1),
        row(PAIRS[1], 0),
        row(PAIRS[1], 1),
        row(PAIRS[2], None),
    ]
    assert trust.preferred(rows) == {PAIRS[0]: 1}


def test_texts_that_answer_no_prompt_are_units_by_themselves() -> None:
    assert trust.texts_of(Pair("", "one", "other")) == ("one", "other")
