from __future__ import annotations

import pytest
from datasets import Dataset

from jokbo.data.selection import labelled_from, texts_from
from jokbo.errors import InputError

DOCUMENTS = Dataset.from_dict(
    {
        "text": ["a", "b", "c"],
        "sources": [["imdb"], ["rotten_tomatoes"], ["icwsm2014-movies", "imdb"]],
        "label": [0, None, 1],
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
