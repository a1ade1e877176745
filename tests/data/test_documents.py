from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.cleaning import clean, normalised
from jokbo.data.documents import DOCUMENT_SCHEMA, build_documents, only_labelled

SPLITS = {"train": 0.65, "prompts": 0.10, "validation": 0.04, "test": 0.06, "judge": 0.15}


def row(text, source="imdb", label=None, ratings=None):
    return {"text": text, "source": source, "label": label, "ratings": ratings}


def build(rows, seed=1, splits=SPLITS, minimum_words=3):
    tables, counts = build_documents(rows, seed=seed, splits=splits, minimum_words=minimum_words)
    return {split: table.to_pylist() for split, table in tables.items()}, counts


def everything(tables):
    return [document for split in tables.values() for document in split]


def test_twins_become_one_document_with_all_that_is_known():
    rows = [
        row("a crisp , honest film .", "rotten_tomatoes", label=1),
        row("A crisp, honest film.", "icwsm2014-movies", ratings=[2, 3]),
        row("A crisp, honest film!", "icwsm2014-movies", ratings=[-1]),
    ]
    tables, counts = build(rows)
    assert everything(tables) == [
        {
            "text": "A crisp, honest film!",
            "sources": ["icwsm2014-movies", "rotten_tomatoes"],
            "label": 1,
            "ratings": [2, 3, -1],
        }
    ]
    assert counts["merged"] == 2
    assert counts["in_several_sources"] == 1


def test_contradicting_labels_are_none():
    tables, counts = build([row("The same old words", label=0), row("the same old words", label=1)])
    (document,) = everything(tables)
    assert document["label"] is None
    assert document["ratings"] is None
    assert counts["conflicting_labels"] == 1


def test_what_is_dropped_is_counted_by_reason():
    tables, counts = build([row("too short"), row("... !!! :-) <br/>"), row("just long enough")])
    assert [document["text"] for document in everything(tables)] == ["just long enough"]
    assert (counts["dropped/short"], counts["dropped/wordless"]) == (1, 1)


sources = st.sampled_from(["imdb", "rotten_tomatoes", "icwsm2014-tweets"])


@given(st.lists(st.tuples(st.text("aAbB ,.é", max_size=9), sources), max_size=60), st.integers(0, 2**32 - 1))
def test_each_text_is_in_exactly_one_split_and_all_rows_are_accounted_for(pairs, seed):
    rows = [row(text, source) for text, source in pairs]
    tables, counts = build(rows, seed=seed, minimum_words=1)
    keys = [normalised(document["text"]) for document in everything(tables)]
    assert len(keys) == len(set(keys))
    assert set(keys) == {normalised(clean(text)) for text, _ in pairs} - {""}
    assert len(keys) == len(rows) - counts["merged"] - counts["dropped/short"] - counts["dropped/wordless"]
    assert sum(counts.get(f"rows/{source}", 0) for source in dict(map(reversed, pairs))) == len(rows)
    for split, documents in tables.items():
        assert counts.get(f"documents/{split}/all", 0) == len(documents)
        for source, number in Counter(s for d in documents for s in d["sources"]).items():
            assert counts[f"documents/{split}/{source}"] == number


NUMBERED = [row(f"document number {i}") for i in range(4000)]


def test_shares_are_kept():
    tables, _ = build(NUMBERED)
    for split, share in SPLITS.items():
        deviation = (4000 * share * (1 - share)) ** 0.5
        assert abs(len(tables[split]) - 4000 * share) < 5 * deviation


def test_order_and_split_depend_on_text_and_seed_alone():
    forwards, _ = build(NUMBERED)
    backwards, _ = build(NUMBERED[::-1])
    assert forwards == backwards
    more, _ = build(NUMBERED + [row(f"another document {i}") for i in range(100)])
    kept = {split: [d for d in found if "number" in d["text"]] for split, found in more.items()}
    assert kept == forwards
    assert build(NUMBERED, seed=2)[0]["test"] != forwards["test"]


def test_order_within_a_split_is_shuffled():
    """Rows come sorted by label."""
    numbers = [int(document["text"].split()[-1]) for document in build(NUMBERED)[0]["train"]]
    assert abs(sum(numbers[: len(numbers) // 2]) / (len(numbers) // 2) - 2000) < 200
    assert numbers != sorted(numbers)


def test_empty_split_has_the_schema():
    tables, _ = build_documents([], seed=1, splits=SPLITS, minimum_words=1)
    assert {table.schema for table in tables.values()} == {DOCUMENT_SCHEMA}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_nothing(share):
    tables, _ = build(NUMBERED[:100], splits={"train": share, "test": 1 - share})
    assert len(tables["train"]) == 100 * share


def test_what_rounding_leaves_over_goes_to_the_last_split():
    tables, _ = build(NUMBERED, splits={"train": 0.5, "test": 0.49})
    assert len(everything(tables)) == 4000


def test_only_labelled():
    rows = [
        row("a labelled positive text", label=1),
        row("a labelled negative text", label=0),
        row("no label at all"),
    ]
    tables, _ = build_documents(rows, seed=1, splits={"judge": 1.0}, minimum_words=1)
    assert sorted(only_labelled(tables["judge"])["label"].to_pylist()) == [0, 1]
