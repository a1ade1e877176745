from __future__ import annotations

import numpy as np
import pytest

from jokbo.errors import InputError
from jokbo.evaluation import judge

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
    assert judge.accuracy(trained, GOOD + BAD, [1] * 3 + [0] * 3) == 1.0
    assert judge.accuracy(trained, GOOD + BAD, [0] * 3 + [1] * 3) == 0.0


def test_is_a_probability_and_undecided_about_unknown_words(trained):
    positive = trained.positive([*GOOD, *BAD, "zyx", ""])
    assert positive.shape == (8,)
    assert ((positive >= 0) & (positive <= 1)).all()
    assert positive[-2:] == pytest.approx(0.5, abs=0.15)


def test_learns_from_single_sentences():
    """A lone sentence among many: whole texts alone show it only mixed with others."""
    texts = ["plain filler text number one here. a truly splendid thing to see."] * 3
    texts += ["plain filler text number one here. a truly horrid thing to see."] * 3
    trained = judge.fit(texts, [1] * 3 + [0] * 3)
    with_sentences = trained.model[0].transform(["a truly splendid thing to see"])
    assert with_sentences.nnz > 0
    counted = judge.sentences(texts[0])
    assert counted == ["plain filler text number one here.", "a truly splendid thing to see."]


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
