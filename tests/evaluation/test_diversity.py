from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.evaluation.diversity import distinct_n

TEXTS = ["The film, the film.", "a film"]


def test_counts_by_hand():
    # words: the film , the film . | a film -> 8 of which 5 are distinct; pairs: 5 + 1 of which 5 are distinct
    assert distinct_n({"one": TEXTS}, 1) == ({"one": pytest.approx(5 / 8)}, 8)
    assert distinct_n({"one": TEXTS}, 2) == ({"one": pytest.approx(5 / 6)}, 6)


def test_no_ngram_crosses_texts_and_where_one_has_none_nothing_compares():
    assert distinct_n({"one": ["a", "b", "a"], "other": TEXTS}, 2) == ({"one": None, "other": None}, 0)
    assert distinct_n({"one": []}, 1) == ({"one": None}, 0)


def test_the_share_is_the_mean_over_all_ways_to_draw_as_many_words_as_the_shortest_has():
    words = ["the", "film", ",", "the", "film", ".", "a", "film"]
    shares, count = distinct_n({"long": TEXTS, "short": ["one two three"]}, 1)
    assert (shares["short"], count) == (1, 3)
    drawn = list(combinations(words, 3))
    assert shares["long"] == pytest.approx(sum(len(set(each)) / 3 for each in drawn) / len(drawn))


def test_who_says_more_in_the_same_way_is_as_diverse():
    """Words drawn alike, 30 a text or 12 a text: told as they are, the longer texts would look poorer by far."""
    draw = random.Random(1)
    long, short = (
        [" ".join(f"w{int(draw.paretovariate(0.7))}" for _ in range(n)) for _ in range(200)] for n in (30, 12)
    )
    shares, _ = distinct_n({"long": long, "short": short}, 1)
    assert shares["long"] == pytest.approx(shares["short"], rel=0.1)
    assert distinct_n({"long": long}, 1).shares["long"] < 0.8 * shares["long"]


@given(st.lists(st.text(alphabet="ab .", max_size=20), max_size=6), st.integers(1, 3))
def test_is_a_share_and_falls_when_everything_is_said_twice(texts, n):
    (share,), count = distinct_n({"one": texts}, n).shares.values(), distinct_n({"one": texts}, n).count
    if not count:
        assert share is None
        return
    assert 0 < share <= 1
    assert distinct_n({"one": texts * 2}, n).shares["one"] == pytest.approx(share / 2)
