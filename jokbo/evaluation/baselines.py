"""What a model must beat: classification by words alone, counted or looked up in a list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline

from jokbo.runtime.errors import InputError

WORDS = r"(?u)\b\w[\w']*\b|[!?]"
INVERSE_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)  # C of logistic regression, from the simplest
NEGATION = re.compile(
    r"\w+n't|(ai|are|ca|could|did|does|do|had|has|have|is|must|should|was|were|wo|would)nt|cannot|never|no|nobody"
    r"|none|nor|neither|not|nothing|nowhere|without|barely|hardly|rarely|seldom"
)
REACH = 3  # words after a negation, of which it turns the sign (Hutto and Gilbert 2014, section 3.3)


def naive_bayes(texts: Sequence[str], labels: Sequence[int]) -> Pipeline:
    """Return multinomial naive Bayes on which words and word pairs a text has (Wang and Manning 2012, section 2.1).

    A word counts once a text. Returns a scikit-learn classifier: `predict(texts)`, `predict_proba(texts)`.
    Raises InputError where fewer than two labels occur.
    """
    _check_classes("naive Bayes", labels)
    words = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=WORDS)
    return make_pipeline(words, MultinomialNB()).fit(list(texts), np.asarray(labels))


def tfidf(
    texts: Sequence[str],
    labels: Sequence[int],
    validation_texts: Sequence[str],
    validation_labels: Sequence[int],
) -> Pipeline:
    """Return logistic regression on tf-idf of words and word pairs, 1 + log(count) for a count.

    Of INVERSE_PENALTIES the one that is right most often on the validation texts; of equals the simplest.
    Raises InputError where fewer than two labels occur.
    """
    _check_classes("tf-idf", labels)
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=WORDS)
    features_NF, held_out_MF = vectors.fit_transform(texts), vectors.transform(validation_texts)
    fitted = [
        LogisticRegression(C=c, max_iter=1000).fit(features_NF, np.asarray(labels)) for c in INVERSE_PENALTIES
    ]
    best = max(fitted, key=lambda model: model.score(held_out_MF, validation_labels))
    return make_pipeline(vectors, best)


def by_rules(lexicon: Mapping[str, float], texts: Sequence[str], majority: int) -> np.ndarray:
    """Return labels, int64 [N]: 1 where a text's valence is above zero, 0 where it is below, `majority` where it is
    zero.
    """
    valences_N = np.array([valence(lexicon, text) for text in texts])
    return np.where(valences_N == 0, majority, valences_N > 0).astype(np.int64)


def valence(lexicon: Mapping[str, float], text: str) -> float:
    """Return the sum of the valences of a text's words.

    Of a word among the REACH after a negation the sign is turned; the negation itself has none.
    """
    total, turned = 0.0, 0
    for word in _words(lexicon, text):
        if NEGATION.fullmatch(word):
            turned = REACH
        else:
            total += lexicon.get(word, 0.0) * (-1 if turned else 1)
            turned = max(0, turned - 1)
    return total


def _words(lexicon: Mapping[str, float], text: str) -> Iterator[str]:
    """Yield the words of a text, and whole what the lexicon has between white space, such as `:)`."""
    for piece in text.lower().replace("\u2019", "'").split():
        if piece in lexicon:
            yield piece
        else:
            yield from re.findall(r"\w[\w']*", piece)


def _check_classes(name: str, labels: Sequence[int]) -> None:
    if len(set(labels)) < 2:
        raise InputError(f"{name}: labels are {sorted(set(labels))}; give texts of two classes or more")
