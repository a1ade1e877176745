from __future__ import annotations

import numpy as np
import pytest

from jokbo.evaluation import judge
from jokbo.runtime.errors import InputError

GOOD = [
    "a warm and funny film about love",
    "the acting is superb from start to end",
    "i loved every minute of it",
]
BAD = [
    "a dull and lifeless waste of time",
    "the acting is awful from start to end",
    "i hated every minute of it",
]


def reviews(rng, sentences, count):
    return [". ".join(rng.choice(sentences, size=5)) + "." for _ in range(count)]


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    return judge.fit(reviews(rng, GOOD, 40) + reviews(rng, BAD, 40), [1] * 40 + [0] * 40)


def test_judges_single_sentences_of_what_it_learned_from_reviews(trained):
    assert judge.right(trained, GOOD + BAD, [1] * 3 + [0] * 3).all()
    assert not judge.right(trained, GOOD + BAD, [0] * 3 + [1] * 3).any()


def test_is_a_probability_and_undecided_about_unknown_words(trained):
    positive = trained.positive([*GOOD, *BAD, "zyx", ""])
    assert positive.shape == (8,)
    assert ((positive >= 0) & (positive <= 1)).all()
    assert positive[-2:] == pytest.approx(0.5, abs=0.15)


def test_a_sentence_teaches_what_its_review_says_only_once():
    """A word of a single text is no part of the vocabulary unless the text's sentences are texts as well."""
    good, bad = (f"plain words come before. a truly {word} ending indeed." for word in ("splendid", "horrid"))
    trained = judge.fit([good, bad], [1, 0])
    splendid, horrid = trained.positive(["a splendid thing", "a horrid thing"])
    assert splendid > 0.6
    assert horrid < 0.4


def test_sentences_in_runs_without_short_ones():
    text = "One two three four five. No! Six seven eight nine ten? End of the very last one."
    assert judge.sentences(text) == [
        "One two three four five.",
        "Six seven eight nine ten?",
        "End of the very last one.",
    ]
    assert judge.sentences(text, together=2)[0] == "One two three four five. No!"


def test_one_label_is_refused():
    with pytest.raises(InputError, match=r"labels of the set-aside texts are \[1\]"):
        judge.fit(["a film"] * 3, [1, 1, 1])
