"""How probably a text is of the good class, by a classifier that is trained on texts set aside for it alone: the kind
`classifier`.

Bag of words and word pairs, logistic regression. It judges continuations of a sentence or two, so it learns
from every sentence of the labelled texts, with the text's label, beside the whole texts: on held-out
single sentences that is right more often (0.69 against 0.67) than whole texts alone are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from jokbo.evaluation import intervals
from jokbo.evaluation.evaluation import Trust
from jokbo.evaluation.judges.judge import GOOD, Given, Judged
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import ClassifierJudge

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
SENTENCE_WORDS = 5  # a shorter one tells too little of its text
TOGETHER = 2  # sentences of a held-out text, about as long as a response
INVERSE_PENALTY = 3.0
WORDS = r"(?u)\b\w[\w']*\b|[!?]"


class Labelled(NamedTuple):
    texts: list[str]
    good: list[bool]


@dataclass(frozen=True)
class Classifier:
    """A trained classifier; make one with `fit`."""

    model: Pipeline

    def good(self, texts: Sequence[str]) -> np.ndarray:
        """Return the probability that each text is good: (texts,)."""
        return self.model.predict_proba(list(texts))[:, 1]

    def right(self, texts: Sequence[str], good: Sequence[bool]) -> np.ndarray:
        """Return which texts it puts on their own side: bool (texts,)."""
        return (self.good(texts) > GOOD) == np.asarray(good, dtype=bool)


def judged(settings: ClassifierJudge, given: Given) -> Judged:
    """Return the probability that each response is good, and how often it is right on the test texts of each source."""
    key, good = f"evaluate.judges.{given.name}", str(settings.good)
    trained = fit(labelled(given.set_aside(), settings.sources, good), key)
    scores = {name: trained.good(texts) for name, texts in given.responses.items()}
    held_out = given.test()
    trust = {name: tried(trained, labelled(held_out, [name], good)) for name in settings.sources}
    named = ", ".join(settings.sources)
    about = (
        f"A classifier that goes by words. It alone saw its training texts, of {named}, and nothing was trained "
        f"against it. A response is good if it is more probably of the class {good} than not."
    )
    return Judged(about, scores, probabilities=True, trust=trust)


def labelled(documents: Dataset, sources: Iterable[str], good: str) -> Labelled:
    """Return the labelled documents of any of the sources, in the data set's order, and whether each is good."""
    wanted = set(sources)
    columns = (documents[name] for name in ("text", "sources", "label"))
    rows = [
        (text, label)
        for text, own, label in zip(*columns, strict=True)
        if label is not None and wanted & set(own)
    ]
    return Labelled([text for text, _ in rows], [label == good for _, label in rows])


def fit(texts: Labelled, key: str) -> Classifier:
    """Return a classifier trained on labelled texts.

    Raises InputError, with the key of its settings, where all are good or none is, and where they share no word.
    """
    if len(set(texts.good)) < 2:
        found = (
            f"all {len(texts.good):,} texts that are set aside are {'' if any(texts.good) else 'not '}good"
        )
        raise InputError(f"{key}: {found}: raise prepare.splits.judge, or name a source with both")
    pieces, good = [], []
    for text, label in zip(*texts, strict=True):
        own = [text, *(piece for piece in sentences(text) if piece != text)]
        pieces.extend(own)
        good.extend([label] * len(own))
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=WORDS),
        LogisticRegression(C=INVERSE_PENALTY, solver="liblinear"),
    )
    try:
        return Classifier(model.fit(pieces, good))
    except ValueError as error:
        if "no terms remain" not in str(error) and "empty vocabulary" not in str(error):
            raise
        found = f"no word stands in two of the {len(texts.good):,} texts that are set aside"
        raise InputError(f"{key}: {found}: raise prepare.splits.judge, or name more sources") from error


def sentences(text: str, together: int = 1) -> list[str]:
    """Return runs of `together` sentences of a text, without those of fewer than five words."""
    parts = SENTENCE_END.split(text.strip())
    runs = [" ".join(parts[start : start + together]) for start in range(0, len(parts), together)]
    return [run for run in runs if len(run.split()) >= SENTENCE_WORDS]


def tried(classifier: Classifier, held_out: Labelled) -> dict[str, Trust]:
    """Return how often the classifier is right on held-out texts of one source: on whole ones, `texts`, and where most
    are longer than a response, on `sentences`, two at a time.

    The sentences of one text are right or wrong together.
    """
    found = {"texts": _trust(classifier, held_out, range(len(held_out.texts)))}
    runs = [sentences(text, TOGETHER) for text in held_out.texts]
    if 2 * sum(len(own) > 1 for own in runs) > len(runs):
        units = [unit for unit, own in enumerate(runs) for _ in own]
        short = Labelled([run for own in runs for run in own], [held_out.good[unit] for unit in units])
        found["sentences"] = _trust(classifier, short, units)
    return found


def _trust(classifier: Classifier, held_out: Labelled, units: Iterable[int]) -> Trust:
    """Return how often it is right. Values of one unit stand or fall together."""
    right = classifier.right(*held_out)
    share = sum(held_out.good) / len(held_out.good)
    return Trust(intervals.by_unit(right, [(unit,) for unit in units])._asdict(), max(share, 1 - share))
