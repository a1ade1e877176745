"""Principles: what a file of them may hold, and which one an item gets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from jokbo.feedback import constitution
from jokbo.runtime.errors import InputError


def test_ours_have_both_kinds() -> None:
    assert len(constitution.comparisons()) == len(constitution.revisions()) == 4


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "comparison:\n- Which is shorter?\nrevision:\n- critique: Too long?\n  revision: Cut it.\n"
    )
    assert constitution.comparisons(file) == ["Which is shorter?"]
    assert [each.revision for each in constitution.revisions(file)] == ["Cut it."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine.yaml: it is empty: it must hold principles, as jokbo/feedback/constitution.yaml does"),
        ("# later\n", "mine.yaml: it is empty: it must hold principles"),
        ("- Which is better?\n", "mine.yaml: it holds ['Which is better?']: it must hold principles"),
        ("comparison: []\n", "mine.yaml: comparison is []: list should have at least 1 item"),
        ("comparison: ['  ']\n", "mine.yaml: comparison.0 is ' ': string should match pattern"),
        ("comparisons: [a]\n", "mine.yaml: comparisons is not a known key: did you mean comparison?"),
        ("revision: [{critique: a, revise: b}]\n", "mine.yaml: revision.0.revise is not a known key"),
        ("revision: [{critique: a}]\n", "mine.yaml: revision.0.revision is missing: add it"),
        ("revision: [{critique: a, revision: b}]\n", "mine.yaml: comparison is missing: add the principles"),
        ("comparison: [a\n", "mine.yaml: line 2: not YAML"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        constitution.comparisons(file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.yaml: no such file: put the principles there"):
        constitution.comparisons(tmp_path / "nowhere.yaml")


def test_a_principle_is_drawn_by_seed_and_item_alone() -> None:
    items, principles = [f"item {i}" for i in range(400)], ["a", "b", "c", "d"]
    drawn = [constitution.drawn(principles, 1, item) for item in items]
    assert drawn[::-1] == [constitution.drawn(principles, 1, item) for item in items[::-1]]
    assert drawn != [constitution.drawn(principles, 2, item) for item in items]
    assert all(60 < count < 140 for count in Counter(drawn).values())
    assert set(drawn) == set(principles)
