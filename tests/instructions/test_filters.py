"""Which instructions and instances are left out, and ROUGE-L against a slow version of our own."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.instructions import filters
from jokbo.instructions.asking import Example

few_words = st.lists(st.sampled_from("abcde"), min_size=1, max_size=12)


def slow_rouge(one: list[str], other: list[str]) -> Fraction:
    """Return 2 LCS / (m + n), the longest common subsequence by its definition."""

    @cache
    def common(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return 0
        skipped = max(common(i + 1, j), common(i, j + 1))
        return max(skipped, 1 + common(i + 1, j + 1)) if one[i] == other[j] else skipped

    return Fraction(2 * common(0, 0), len(one) + len(other))


@given(few_words, few_words)
def test_rouge_is_that_of_the_longest_common_subsequence(one: list[str], other: list[str]) -> None:
    found = filters.rouge(" ".join(one), " ".join(other))
    assert found == pytest.approx(float(slow_rouge(one, other)))
    assert (found >= filters.MOST_ALIKE) == (
        slow_rouge(one, other) >= Fraction(7, 10)
    )  # at 7 of 10 words, too


def test_words_of_any_script_are_compared_without_case_and_signs() -> None:
    assert filters.rouge("과일 이름을 말해 줘", "과일 이름을 말해 주세요!") == 0.75
    assert filters.rouge("Name a FRUIT.", "name a fruit") == 1.0
    assert filters.nearest("Name a fruit", ["Sing a song", "Name a fruit or two"]) == (
        0.75,
        "Name a fruit or two",
    )


@pytest.mark.parametrize(
    ("instruction", "why"),
    [
        ("Name three fruits please", None),
        ("", filters.EMPTY),
        ("\x7f \x7f \x7f \x7f", filters.EMPTY),
        ("Name a fruit", filters.SHORT),
        ("word " * 150, None),
        ("word " * 151, filters.LONG),
        ("Describe what the image shows", filters.KEYWORD),
        ("Draw a house and a tree", filters.KEYWORD),
        ("Tell me about your imagery please", None),
        ("Write a program that adds numbers", filters.PROGRAM),
        ("- Name three fruits please", filters.PUNCTUATION),
        ("과일 세 개를 말해 줘", filters.SCRIPT),
    ],
)
def test_an_instruction_by_itself(instruction: str, why: str | None) -> None:
    assert filters.unfit(instruction, ascii_only=True) == why


def test_another_script_is_kept_where_a_seed_has_one() -> None:
    assert filters.unfit("과일 세 개를 말해 줘", ascii_only=False) is None


def test_instances_that_nothing_can_be_learned_from_are_left_out() -> None:
    good = [
        Example("a", "b"),
        Example("", "c"),
        Example("", "d"),
    ]  # without an input there are many right outputs
    bad = [Example("a", ""), Example("e", "e"), Example("f:", "g"), Example("h", "i:"), Example("a", "b")]
    counts = {filters.NOTHING: 1, filters.SAME: 1, filters.COLON: 2, filters.TWICE: 1}
    assert filters.fit([*good, *bad]) == (good, counts)
    assert filters.fit([*good, Example("a", "z")]) == ([], {filters.CONFLICT: 4})
    many = [Example(str(i), "x") for i in range(filters.MOST_EXAMPLES + 2)]
    assert filters.fit(many) == (many[: filters.MOST_EXAMPLES], {filters.MANY: 2})


def test_a_label_must_be_in_its_list_and_have_an_input() -> None:
    found = [Example("a", "yes"), Example("b", "Maybe"), Example("", "No")]
    counts = {filters.UNKNOWN_LABEL: 1, filters.NO_INPUT: 1}
    assert filters.fit(found, ["Yes", "No"]) == (found[:1], counts)
