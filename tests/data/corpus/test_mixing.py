from __future__ import annotations

from collections import Counter
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.corpus import mixing
from jokbo.runtime.errors import InputError
from tests.support.corpora import document, write_documents


def by_epochs(**sources: float):
    return SimpleNamespace(by="epochs", sources=sources)


def by_weights(**sources: float):
    return SimpleNamespace(by="weights", sources=sources)


def by_temperature(temperature: float, *sources: str):
    return SimpleNamespace(by="temperature", sources=list(sources), temperature=temperature)


def stream(documents, epochs):
    """Return all occurrences as (name, document, pass)."""
    names = sorted(documents)
    return [
        (names[source], document, turn)
        for piece in mixing.occurrences(documents, epochs)
        for source, document, turn in zip(*(array.tolist() for array in piece), strict=True)
    ]


SOURCES = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(0, 40), st.floats(0, 4)), min_size=1)


@given(SOURCES, st.integers(1, 50))
def test_the_stream_is_its_occurrences_sorted_by_location(sources, piece):
    documents = {name: n for name, (n, _) in sources.items()}
    epochs = {name: e for name, (_, e) in sources.items()}
    expected = []
    for name, n in documents.items():
        count = int(epochs[name]) * n + round((epochs[name] - int(epochs[name])) * n)
        assert mixing.occurrence_count(n, epochs[name]) == count
        expected += [(Fraction(2 * k + 1, 2 * count), name, k % n, k // n) for k in range(count)]
    whole, mixing.PIECE = mixing.PIECE, piece
    try:
        assert stream(documents, epochs) == [occurrence[1:] for occurrence in sorted(expected)]
    finally:
        mixing.PIECE = whole


@given(SOURCES)
def test_any_part_of_the_stream_has_its_share_of_each_source(sources):
    documents = {name: n for name, (n, _) in sources.items()}
    epochs = {name: e for name, (_, e) in sources.items()}
    names = [name for name, _, _ in stream(documents, epochs)]
    for name, total in Counter(names).items():
        so_far = np.cumsum([each == name for each in names])
        expected = np.arange(1, len(names) + 1) * total / len(names)
        assert np.abs(so_far - expected).max() <= len(documents)


def test_repetitions_of_a_document_are_a_whole_pass_apart():
    found = stream({"few": 3, "many": 300}, {"few": 4, "many": 1})
    indices = [index for index, (name, number, _) in enumerate(found) if (name, number) == ("few", 1)]
    assert len(indices) == 4
    assert min(np.diff(indices)) >= 75


def test_epochs_of_each_way_to_mix():
    sizes = {"a": 100, "b": 900, "c": 5}
    assert mixing.epochs_of(by_epochs(a=2.5, b=0.25), sizes) == {"a": 2.5, "b": 0.25}
    weighted = mixing.epochs_of(by_weights(a=3, b=1), sizes)
    assert weighted == pytest.approx({"a": 7.5, "b": 250 / 900})
    assert mixing.epochs_of(by_temperature(1.0, "a", "b"), sizes) == pytest.approx({"a": 1, "b": 1})
    warm = mixing.epochs_of(by_temperature(2.0, "a", "b"), sizes)
    tokens = {name: warm[name] * sizes[name] for name in warm}
    assert tokens["b"] / tokens["a"] == pytest.approx(3)
    assert sum(tokens.values()) == pytest.approx(1000)
    hot = mixing.epochs_of(by_temperature(1e9, "a", "b"), sizes)
    assert hot["a"] * 100 == pytest.approx(hot["b"] * 900)


def test_a_source_of_weight_zero_is_none_of_the_mix():
    assert mixing.source_names(by_weights(b=1, a=0, c=2)) == ["b", "c"]
    assert mixing.source_names(by_temperature(2.0, "b", "a")) == ["a", "b"]


def test_a_source_without_documents_of_its_own_names_those_that_have():
    with pytest.raises(InputError, match=r"no document is of b \(.* with documents of their own: a"):
        mixing.epochs_of(by_epochs(a=1, b=1), {"a": 3, "b": 0})


def test_a_document_belongs_to_its_first_source_of_the_mix():
    batch = pa.RecordBatch.from_pylist(
        [{"sources": names} for names in (["a", "c"], ["c"], ["x"], [], ["b", "c"])]
    )
    assert mixing.source_indices(batch, ["b", "c"]).tolist() == [1, 1, -1, -1, 0]


@pytest.fixture
def files(tmp_path):
    documents = [document(f"a{i}", "a", *(["b"] if i % 2 else [])) for i in range(10)]
    documents += [document(f"b{i}é", "b") for i in range(5)] + [document("x", "x")]
    return write_documents(tmp_path, documents, files=3)


def test_a_sample_is_the_whole_mix_where_there_is_room(files):
    sample = mixing.Sample(files, by_epochs(a=1, b=2), 10**6)
    assert Counter(sample) == Counter([f"a{i}" for i in range(10)] + 2 * [f"b{i}é" for i in range(5)])
    assert list(sample) == list(sample)


def test_a_smaller_sample_is_the_beginning_of_each_source(files):
    sample = list(mixing.Sample(files, by_epochs(a=1, b=1), 20))  # of 10 * 2 + 5 * 4 bytes
    assert [text for text in sample if text[0] == "a"] == [f"a{i}" for i in range(5)]
    assert [text for text in sample if text[0] == "b"] == ["b0é", "b1é"]
