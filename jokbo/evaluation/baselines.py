"""What a model must beat: classification by words alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline

from jokbo.errors import InputError


def naive_bayes(texts: Sequence[str], labels: Sequence[int]) -> Pipeline:
    """Multinomial naive Bayes on which words and word pairs a text has (Wang and Manning 2012, section 2.1).

    A word counts once a text. Returns a scikit-learn classifier: `predict(texts)`, `predict_proba(texts)`.
    Raises InputError where fewer than two labels occur.
    """
    if len(set(labels)) < 2:
        raise InputError(f"naive Bayes: labels are {sorted(set(labels))}; give texts of two classes or more")
    words = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"(?u)\b\w[\w']*\b|[!?]")
    return make_pipeline(words, MultinomialNB()).fit(list(texts), np.asarray(labels))
