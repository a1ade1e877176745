from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.keys import digest, normalised, partition_of, split_of
from jokbo.data.prepare.documents import merged

SPLITS = {"train": 0.65, "prompts": 0.10, "validation": 0.04, "test": 0.06, "judge": 0.15}
DIGESTS = [digest(f"document number {i}", seed=1) for i in range(4000)]


def row(text, source="imdb", label=None, ratings=None):
    known = {"text": text, "source": source, "label": label, "ratings": ratings, "language": "en"}
    return {**known, "turns": None, "digest": digest(normalised(text), seed=1)}


def test_twins_become_one_document_with_all_that_is_known():
    rows = [
        row("a crisp , honest film .", "rotten_tomatoes", label="1"),
        row("A crisp, honest film.", "icwsm2014-movies", ratings=[2, 3]),
        row("A crisp, honest film.", "icwsm2014-amazon", ratings=[-1]),
    ]
    ((_, text, _), document), ((_, spaced, _), other) = merged(rows).items()
    assert (spaced, other.row(spaced)["label"]) == ("a crisp , honest film .", "1")
    assert document.row(text) == {
        "text": "A crisp, honest film.",
        "sources": ["icwsm2014-amazon", "icwsm2014-movies"],
        "label": None,
        "ratings": [-1, 2, 3],
        "language": "en",
        "others": None,
        "turns": None,
    }


def test_pairs_of_one_first_text_are_documents_of_one_split():
    rows = [
        row("A man eats.", label=label) | {"others": [f"A man {label}."]} for label in ("sleeps", "dines")
    ]
    found = merged([*rows, rows[0]])
    assert len({split_of(mark, SPLITS) for mark, *_ in found}) == 1
    told = [document.row(text, others) for (_, text, others), document in found.items()]
    assert [(each["label"], each["others"]) for each in told] == [
        ("dines", ["A man dines."]),
        ("sleeps", ["A man sleeps."]),
    ]


def test_contradicting_labels_are_none():
    ((_, text, _), document) = merged(
        [row("The same words", label="0"), row("The same words", label="1")]
    ).popitem()
    assert document.row(text)["label"] is None
    assert document.row(text)["ratings"] is None


@pytest.mark.parametrize(
    ("first", "second"),
    [("I saw it 👍", "I saw it 👎"), ("it is so :)", "it is so :("), ("3 - 2 = x", "3 + 2 = x")],
)
def test_texts_that_differ_in_signs_are_documents_of_one_split_with_a_label_each(first, second):
    found = merged([row(first, label="1"), row(second, label="0")])
    assert {text: document.row(text)["label"] for (_, text, _), document in found.items()} == {
        first: "1",
        second: "0",
    }
    assert len({split_of(mark, SPLITS) for mark, *_ in found}) == 1


texts = st.text("aAbB ,.é", max_size=6)
rows = st.builds(
    row, texts, st.sampled_from("xyz"), st.sampled_from(["0", "1", None]), st.lists(st.integers(-4, 4))
)


@given(st.lists(rows, max_size=40), st.randoms())
def test_the_order_of_rows_decides_nothing(found, shuffle: random.Random):
    mixed = sorted(found, key=lambda _: shuffle.random())
    documents = merged(found)
    assert [mark for mark, *_ in documents] == sorted(mark for mark, *_ in documents)
    assert len(documents) == len({row["text"] for row in found})
    again = merged(mixed)
    assert [(k, v.row(k[1])) for k, v in documents.items()] == [(k, v.row(k[1])) for k, v in again.items()]


def test_shares_are_kept():
    placed = [split_of(mark, SPLITS) for mark in DIGESTS]
    for split, share in SPLITS.items():
        deviation = (4000 * share * (1 - share)) ** 0.5
        assert abs(placed.count(split) - 4000 * share) < 5 * deviation


def test_splits_and_parts_are_intervals_of_the_order():
    """So that parts laid end to end are the splits in order."""
    for names in (
        [split_of(mark, SPLITS) for mark in sorted(DIGESTS)],
        [partition_of(mark, 7) for mark in sorted(DIGESTS)],
    ):
        changes = [a != b for a, b in itertools.pairwise(names)]
        assert sum(changes) == len(set(names)) - 1
    assert {partition_of(mark, 7) for mark in DIGESTS} == set(range(7))
    assert {partition_of(bytes(16), 7), partition_of(b"\xff" * 16, 7)} == {0, 6}


def test_the_seed_moves_documents():
    assert digest("a text", 1) != digest("a text", 2)


def test_what_rounding_leaves_over_goes_to_the_last_split():
    assert split_of(b"\xff" * 16, {"train": 0.5, "test": 0.49}) == "test"
    assert split_of(b"\xff" * 16, {"train": 1.0, "test": 0.0}) == "test"  # 2**64 - 1 rounds up to 1
    assert {split_of(mark, {"train": 0.0, "test": 1.0}) for mark in DIGESTS} == {"test"}
