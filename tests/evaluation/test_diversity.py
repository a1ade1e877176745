from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.evaluation.diversity import distinct_n


def test_counts_by_hand():
    texts = ["The film, the film.", "a film"]
    # words: the film , the film . | a film -> 8 of which 5 are distinct; pairs: 5 + 1 of which 5 are distinct
    assert distinct_n(texts, 1) == pytest.approx(5 / 8)
    assert distinct_n(texts, 2) == pytest.approx(5 / 6)


def test_no_ngram_crosses_texts_and_none_is_zero():
    assert distinct_n(["a", "b", "a"], 2) == 0.0
    assert distinct_n([], 1) == 0.0


@given(st.lists(st.text(alphabet="ab .", max_size=20), max_size=6), st.integers(1, 3))
def test_is_a_share_and_falls_when_everything_is_said_twice(texts, n):
    share = distinct_n(texts, n)
    assert 0 <= share <= 1
    assert distinct_n(texts * 2, n) == pytest.approx(share / 2)
