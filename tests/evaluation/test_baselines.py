from __future__ import annotations

import numpy as np
import pytest

from jokbo.errors import InputError
from jokbo.evaluation import baselines


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
