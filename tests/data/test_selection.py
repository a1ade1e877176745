from __future__ import annotations

import pytest
from datasets import Dataset

from jokbo.data.selection import labelled_from, texts_from
from jokbo.runtime.errors import InputError

DOCUMENTS = Dataset.from_dict(
    {
        "text": ["a", "b", "c"],
        "sources": [["imdb"], ["rotten_tomatoes"], ["icwsm2014-movies", "imdb"]],
        "label": ["0", None, "1"],
        "ratings": [[-1, 0], [1, 2, 3], [2, -1]],
    }
)


def test_documents_of_any_of_the_sources_in_order():
    assert texts_from(DOCUMENTS, ["imdb"]) == ["a", "c"]
    assert texts_from(DOCUMENTS, ["icwsm2014-movies", "rotten_tomatoes"]) == ["b", "c"]


def test_unknown_source_names_the_known():
    with pytest.raises(
        InputError, match="no document is from amazon: there are those from icwsm2014-movies, imdb"
    ):
        texts_from(DOCUMENTS, ["imdb", "amazon"])


def test_labelled_documents_of_a_source():
    assert labelled_from(DOCUMENTS, "imdb") == (["a", "c"], [0, 1])
    with pytest.raises(InputError, match="no document of rotten_tomatoes has a label"):
        labelled_from(DOCUMENTS, "rotten_tomatoes")


def test_documents_in_several_of_the_sources_come_once():
    assert labelled_from(DOCUMENTS, "imdb", "icwsm2014-movies") == (["a", "c"], [0, 1])


def test_labels_made_of_ratings():
    """Means are -0.5, 2 and 0.5."""
    either = ("imdb", "rotten_tomatoes")
    assert labelled_from(DOCUMENTS, *either, neutral=0.0) == (["a", "b", "c"], [0, 1, 1])
    assert labelled_from(DOCUMENTS, *either, neutral=0.5) == (["b"], [1])
    with pytest.raises(InputError, match=r"no document of imdb has ratings with a mean beyond 0\.5 of 0"):
        labelled_from(DOCUMENTS, "imdb", neutral=0.5)


def test_documents_without_ratings_have_no_label_made_of_them():
    held = Dataset.from_dict({"text": ["a", "b"], "sources": [["a"]] * 2, "ratings": [None, [-1]]})
    assert labelled_from(held, "a", neutral=0.0) == (["b"], [0])


def test_a_label_that_is_no_sentiment():
    held = Dataset.from_dict({"text": ["a", "b"], "sources": [["a"], ["b"]], "label": ["0", "billing"]})
    assert labelled_from(held, "a") == (["a"], [0])
    with pytest.raises(InputError, match=r"a document of b has the label 'billing': 0 \(negative\)"):
        labelled_from(held, "b")
