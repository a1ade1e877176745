from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.keys import normalised
from jokbo.data.prepare import words

anything = st.text(st.characters(codec=None), max_size=60)
few_words = st.lists(st.sampled_from(["a", "b", "ab", "ba", "가", "나", "é"]), max_size=12).map(" ".join)


@given(anything)
def test_the_words_of_a_text_joined_are_its_key(text):
    assert "".join(words.spaced(text).split()) == normalised(text)


def test_a_word_ends_at_white_space_alone():
    text = "Don't -- well-known…\u00a0über\u3000ALLES, 1½\n#가나 नमस्ते ..."
    assert words.spaced(text).split() == ["dont", "wellknown", "über", "alles", "112", "가나", "नमस्ते"]


@given(st.lists(anything | few_words, max_size=8))
def test_a_word_has_one_hash_of_its_own_wherever_it_stands(texts):
    expected = [words.spaced(text).split() for text in texts]
    hashes, counts = words.hashed(texts)
    assert counts.tolist() == [len(found) for found in expected]
    flat = [word for found in expected for word in found]
    assert len(flat) == len(hashes)
    alone = {word: words.hashed([word])[0].item() for word in flat}
    assert hashes.tolist() == [alone[word] for word in flat]
    assert len(set(alone.values())) == len(alone)


def test_hashes_are_the_same_on_every_machine():
    hashes, counts = words.hashed(["one two", "три"])
    assert hashes.tolist() == [4602286189069786982, 16785436680491611329, 4610604604664713845]
    assert words.runs(hashes, counts, 2)[0].tolist() == [1156504866111375007]


@given(st.lists(few_words, max_size=8), st.integers(1, 4))
def test_runs_are_those_of_each_text_by_itself(texts, length):
    expected = []
    for text in texts:
        found = text.split()
        expected.append([tuple(found[i : i + length]) for i in range(len(found) - length + 1)])
    hashes, counts = words.runs(*words.hashed(texts), length)
    assert counts.tolist() == [len(found) for found in expected]
    flat = [run for found in expected for run in found]
    assert len(hashes) == len(flat)
    assert len(set(zip(flat, hashes.tolist(), strict=True))) == len(set(flat)) == len(set(hashes.tolist()))


def test_hashes_of_many_words_are_spread_and_differ():
    numbers = [str(number) for number in range(100_000)]
    hashes, _ = words.hashed([" ".join(numbers)])
    assert len(words.distinct(hashes)) == len(numbers)
    for bits in (hashes & np.uint64(15), hashes >> np.uint64(60)):
        assert np.abs(np.bincount(bits.astype(np.int64), minlength=16) - 6250).max() < 5 * 6250**0.5


@given(st.lists(st.integers(0, 9)))
def test_distinct_values_are_sorted(values):
    assert words.distinct(np.array(values, np.uint64)).tolist() == sorted(set(values))
