from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.prepare import contamination

texts = st.lists(st.lists(st.sampled_from("abc"), max_size=10).map(" ".join), max_size=6)


def _tuples(text, n):
    found = text.split()
    return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}


@given(texts, texts, st.integers(1, 4))
def test_shared_n_grams_are_those_that_sets_of_tuples_share(evaluated, trained, n):
    known = contamination.ngrams(evaluated, n)
    expected = set().union(*(_tuples(text, n) for text in evaluated))
    assert len(known) == len(expected)
    assert known.dtype == np.uint64
    assert (known[1:] > known[:-1]).all()
    found = contamination.shared(trained, n, known)
    assert found.tolist() == [bool(_tuples(text, n) & expected) for text in trained]


@given(texts, st.integers(0, 6), st.integers(1, 4))
def test_a_union_is_what_all_at_once_give(evaluated, cut, n):
    parts = (contamination.ngrams(part, n) for part in (evaluated[:cut], evaluated[cut:]))
    assert (contamination.union(parts) == contamination.ngrams(evaluated, n)).all()


def test_the_union_of_nothing_is_nothing():
    assert contamination.union([]).tolist() == []
    assert contamination.shared(["one two"], 1, contamination.union([])).tolist() == [False]


def test_thirteen_shared_words_are_found_and_twelve_are_not(tmp_path):
    question = [f"word{i}" for i in range(20)]
    np.save(tmp_path / "known.npy", contamination.ngrams([" ".join(question)], 13))
    known = np.load(tmp_path / "known.npy", mmap_mode="r")
    trained = [
        "It was said: “" + ", ".join(question[3:16]).upper() + "”; or not",
        "it was said " + " ".join(question[3:15]) + " or not and so on for a while",
        " ".join([*question[3:9], "else", *question[9:16]]),
        "short",
        "",
    ]
    assert contamination.shared(trained, 13, known).tolist() == [True, False, False, False, False]


def test_a_text_shorter_than_the_n_gram_has_none():
    assert contamination.ngrams(["one two three"], 4).tolist() == []
    assert len(contamination.ngrams(["one two three"], 3)) == 1


def test_no_n_gram_goes_from_one_text_into_the_next():
    known = contamination.ngrams(["a b c d"], 4)
    assert contamination.shared(["a b", "c d", "a b c d"], 4, known).tolist() == [False, False, True]
