from __future__ import annotations

import numpy as np
import pytest

from jokbo.evaluation import baselines
from jokbo.runtime.errors import InputError


def test_posterior_is_that_of_the_formula():
    """Add-one smoothing over the vocabulary {good, bad, film, good film, bad film}; presence, not counts."""
    classifier = baselines.naive_bayes(["good film", "good good film", "bad film"], [1, 1, 0])
    # "good" and "good good": the second text has the pair "good good" too, so the vocabulary has six entries.
    likelihood_1 = (2 + 1) / (7 + 6)
    likelihood_0 = (0 + 1) / (3 + 6)
    odds = (2 / 3 * likelihood_1) / (1 / 3 * likelihood_0)
    assert classifier.predict_proba(["good"])[0, 1] == pytest.approx(odds / (1 + odds))


def test_sees_word_pairs():
    texts = ["not good at all", "good not bad", "bad not good", "good and not bad"] * 5
    labels = [0, 1, 0, 1] * 5
    classifier = baselines.naive_bayes(texts, labels)
    assert (classifier.predict(["not good", "not bad"]) == np.array([0, 1])).all()


def test_one_class_is_refused():
    with pytest.raises(InputError, match=r"labels are \[0\]"):
        baselines.naive_bayes(["a film"], [0])


LEXICON = {"good": 2.0, "great": 3.0, "bad": -2.5, "no": -1.0, ":)": 1.5, "well-made": 1.0, "dull": -1.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A good film, a GREAT cast.", 5.0),
        ("not a good film", -2.0),
        ("not at all a good film", 2.0),  # out of reach
        ("it isn't bad, it isn\u2019t dull", 3.5),
        ("no good", -2.0),  # a negation has no valence of its own
        ("never bad not great", 2.5 - 3.0),
        ("well-made :) though (dull)", 1.5),
        ("a film", 0.0),
        ("", 0.0),
    ],
)
def test_valence_sums_words_and_turns_them_after_a_negation(text: str, expected: float):
    assert baselines.valence(LEXICON, text) == expected


def test_rules_give_the_majority_to_texts_without_valence():
    texts = ["good", "bad", "a film", "good dull dull"]
    assert baselines.by_rules(LEXICON, texts, 1).tolist() == [1, 0, 1, 1]
    assert baselines.by_rules(LEXICON, texts, 0).tolist() == [1, 0, 0, 0]


def test_tfidf_sees_pairs_and_takes_the_penalty_that_validation_prefers():
    texts = ["not good", "good not bad", "bad not good", "good and not bad"] * 5
    labels = [0, 1, 0, 1] * 5
    model = baselines.tfidf(texts, labels, texts, labels)
    assert model.predict(["it is not good", "it is not bad"]).tolist() == [0, 1]
    # 2 of 20 texts are labelled against their word: a mild penalty learns the rule, a weak one the exceptions
    noisy = ["good film"] * 9 + ["good oddly"] + ["bad film"] * 9 + ["bad strangely"]
    marks = [1] * 9 + [0] + [0] * 9 + [1]
    simple = baselines.tfidf(noisy, marks, ["good oddly", "bad strangely"], [1, 0])
    exact = baselines.tfidf(noisy, marks, ["good oddly", "bad strangely"], [0, 1])
    assert simple[-1].C < exact[-1].C
    assert min(baselines.INVERSE_PENALTIES) == simple[-1].C


def test_tfidf_refuses_one_class():
    with pytest.raises(InputError, match=r"tf-idf: labels are \[1\]"):
        baselines.tfidf(["a film"], [1], ["a film"], [1])
