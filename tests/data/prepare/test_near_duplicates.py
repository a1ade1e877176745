from __future__ import annotations

import random
from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from jokbo.data.prepare import near_duplicates

SETTINGS = {"shingle_words": 5, "bands": 20, "rows": 6}  # as in params.yaml


def _candidates(texts, **settings):
    hashes = near_duplicates.band_hashes(texts, **settings)
    ids = np.repeat(np.arange(len(texts), dtype=np.uint64), settings["bands"])
    return near_duplicates.candidates(hashes.ravel(), ids)


def _edited(text, similarity, rng, vocabulary):
    """Return the text with words replaced, so many that shingles of 5 words are about this similar."""
    rate = 1 - (2 * similarity / (1 + similarity)) ** 0.2
    return [rng.choice(vocabulary) if rng.random() < rate else word for word in text]


@pytest.fixture(scope="module")
def planted():
    """Return 2,000 texts, and the Jaccard similarity of all their pairs as sets of 5 words in a row."""
    rng = random.Random(1)
    vocabulary = [f"w{i}" for i in range(5000)]
    found = []
    for _ in range(500):
        original = rng.choices(vocabulary, k=rng.randrange(60, 300))
        edits = [_edited(original, rng.uniform(0.5, 1), rng, vocabulary) for _ in range(3)]
        found += [original, *edits]
    rng.shuffle(found)
    sets = [{tuple(text[i : i + 5]) for i in range(len(text) - 4)} for text in found]
    columns = {shingle: i for i, shingle in enumerate(set().union(*sets))}
    has = csr_array(
        (
            np.ones(sum(map(len, sets)), np.int32),
            [columns[shingle] for one in sets for shingle in one],
            np.cumsum([0, *map(len, sets)]),
        ),
        shape=(len(sets), len(columns)),
    )
    both = (has @ has.T).toarray()
    sizes = both.diagonal()
    return [" ".join(text) for text in found], both / (sizes[:, None] + sizes - both)


def test_planted_near_duplicates_are_found_and_no_others(planted):
    texts, similarity = planted
    wanted = {(a, b) for a, b in np.argwhere(similarity >= 0.8).tolist() if a < b}
    assert len(wanted) > 500
    shingles = [near_duplicates.shingles(text, 5) for text in texts]
    candidates = _candidates(texts, **SETTINGS).tolist()
    reported = {(a, b) for a, b in candidates if near_duplicates.jaccard(shingles[a], shingles[b]) >= 0.8}
    assert len(reported & wanted) >= 0.95 * len(wanted)
    assert len(reported - wanted) <= 0.01 * len(reported)
    assert all(similarity[a, b] > 0.2 for a, b in candidates)  # verification has little to read in vain


def test_the_exact_similarity_is_that_of_sets_of_words(planted):
    texts, similarity = planted
    shingles = [near_duplicates.shingles(text, 5) for text in texts]
    for a, b in [*np.argwhere(similarity > 0)[:3000], (0, 0), *combinations(range(30), 2)]:
        assert near_duplicates.jaccard(shingles[a], shingles[b]) == pytest.approx(similarity[a, b])


@pytest.mark.parametrize("similarity", [0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize(("bands", "rows"), [(20, 6), (9, 13), (30, 2)])
def test_pairs_collide_as_often_as_the_theory_says(similarity, bands, rows):
    pairs, words = 800, 100
    own = round(words * (1 - similarity) / 2)
    texts = []
    for pair in range(pairs):
        union = [f"{pair}x{i}" for i in range(words)]
        texts += [" ".join(union[own:]), " ".join(union[: words - own])]
    hashes = near_duplicates.band_hashes(texts, shingle_words=1, bands=bands, rows=rows)
    observed = (hashes[::2] == hashes[1::2]).any(axis=1).mean()
    expected = 1 - (1 - similarity**rows) ** bands
    assert abs(observed - expected) <= 4 * (expected * (1 - expected) / pairs) ** 0.5


def test_hashes_are_the_same_on_every_machine():
    hashes = near_duplicates.band_hashes(["one two three", "one"], shingle_words=2, bands=2, rows=3)
    assert hashes.tolist() == [
        [5602605574427058327, 7090910280721516683],
        [18294420925086096283, 4356330567784651445],
    ]


plain = st.lists(st.text("abcäñ가나1", min_size=1, max_size=3), max_size=9)


@given(st.lists(plain.map(" ".join), max_size=6))
def test_neither_the_order_of_texts_nor_their_batch_matters(texts):
    together = near_duplicates.band_hashes(texts, **SETTINGS)
    assert together.shape == (len(texts), 20)
    for text, row in zip(texts, together, strict=True):
        assert (near_duplicates.band_hashes([text], **SETTINGS)[0] == row).all()


def test_batches_large_enough_for_threads_give_what_small_ones_give(planted):
    texts, _ = planted
    parts = [near_duplicates.band_hashes(texts[i : i + 100], **SETTINGS) for i in range(0, len(texts), 100)]
    assert (near_duplicates.band_hashes(texts, **SETTINGS) == np.concatenate(parts)).all()


@given(plain, st.randoms(use_true_random=False))
def test_case_punctuation_and_white_space_do_not_matter(words, rng):
    loud = [
        rng.choice(["", "-", "“"]) + (word.upper() if rng.random() < 0.5 else word) + "," for word in words
    ]
    dotted = [".".join(word) if rng.random() < 0.5 else word for word in loud]
    pair = [" ".join(words), "\n" + rng.choice(["\t ", " - ", "\u3000"]).join(dotted)]
    assert (near_duplicates.shingles(pair[0], 3) == near_duplicates.shingles(pair[1], 3)).all()
    hashes = near_duplicates.band_hashes(pair, **SETTINGS)
    assert (hashes[0] == hashes[1]).all()


def test_the_same_text_shares_every_band_and_no_band_is_another():
    hashes = near_duplicates.band_hashes(["one two three four five six"] * 2, **SETTINGS)
    assert (hashes[0] == hashes[1]).all()
    assert len(set(hashes[0].tolist())) == 20


def test_a_shingle_counts_once_however_often_it_stands_there():
    assert len(near_duplicates.shingles("na na na na na na", 2)) == 1
    assert len(near_duplicates.shingles("a b a b a b", 2)) == 2


def test_a_text_shorter_than_a_shingle_is_one_shingle():
    short = {
        text: near_duplicates.shingles(text, 5).tolist() for text in ("", "a", "b", "a b", "b a", "a b c d e")
    }
    assert all(len(found) == 1 for found in short.values())
    assert len({found[0] for found in short.values()}) == len(short)
    assert near_duplicates.jaccard(*[near_duplicates.shingles("A b!", 5)] * 2) == 1


entries = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=40)


@given(entries, st.randoms(use_true_random=False))
def test_candidates_are_all_that_share_a_hash(found, rng):
    groups = defaultdict(set)
    for value, identity in found:
        groups[value].add(identity)
    expected = sorted({pair for group in groups.values() for pair in combinations(sorted(group), 2)})
    for _ in range(2):
        columns = np.array(found, np.uint64).reshape(-1, 2).T
        pairs = near_duplicates.candidates(*columns)
        assert pairs.dtype == np.uint64
        assert [tuple(pair) for pair in pairs.tolist()] == expected
        rng.shuffle(found)


def test_what_very_many_documents_share_links_each_to_the_first():
    ids = np.array([*range(100, 140), 5, 7, 8], np.uint64)
    hashes = np.array([3] * 41 + [9] * 2, np.uint64)
    pairs = near_duplicates.candidates(hashes, ids).tolist()
    assert pairs == [*([5, number] for number in range(100, 140)), [7, 8]]


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(16, 30)), max_size=25))
def test_of_what_is_linked_the_smallest_stays(links):
    component = {number: {number} for pair in links for number in pair}
    for a, b in links:
        joined = component[a] | component[b]
        component.update(dict.fromkeys(joined, joined))
    dropped, kept = near_duplicates.clusters(np.array(links, np.uint64).reshape(-1, 2))
    expected = {number: min(group) for number, group in component.items() if number != min(group)}
    assert dict(zip(dropped.tolist(), kept.tolist(), strict=True)) == expected
    assert dropped.tolist() == sorted(expected)
