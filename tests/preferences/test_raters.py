from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jokbo.preferences import raters
from jokbo.runtime.errors import InputError

WORDS = {f"word{i}": value for i, value in enumerate(np.linspace(-3, 3, 41))}


def population(count: int, *, seed: int, noise: float = 1.0):
    """Texts of four words whose values make the mean, and 15 people's whole-numbered ratings of each."""
    rng = np.random.default_rng(seed)
    texts, ratings, means = [], [], []
    for _ in range(count):
        words = rng.choice(list(WORDS), size=4)
        middle = np.mean([WORDS[word] for word in words]) * 1.6
        texts.append(" ".join(words))
        means.append(middle)
        ratings.append(np.clip(np.rint(rng.normal(middle, noise, size=15)), -4, 4).astype(int).tolist())
    return texts, ratings, np.array(means)


@pytest.fixture(scope="module")
def fitted() -> raters.Raters:
    texts, ratings, _ = population(1500, seed=0)
    return raters.fit(texts, ratings, seed=1)


def test_expected_rating_follows_the_words(fitted):
    texts, _, means = population(300, seed=1)
    expected = fitted.expected(texts)
    assert np.corrcoef(expected, means)[0, 1] > 0.9
    assert expected.std() == pytest.approx(means.std(), rel=0.15)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_simulated_raters_disagree_as_often_as_people(noise):
    texts, ratings, _ = population(1200, seed=2, noise=noise)
    simulated = raters.fit(texts, ratings, seed=1)
    texts, ratings, _ = population(600, seed=3, noise=noise)
    human = raters.disagreements(ratings[:300], ratings[300:]).mean()
    choices = simulated.compare(texts[:300], texts[300:], seed=4, raters=40)
    second = choices.sum(axis=1)
    rate = np.mean(2 * second * (40 - second) / (40 * 39))
    assert rate == pytest.approx(human, abs=0.025)


def test_single_ratings_average_to_the_expected_one(fitted):
    expected = np.linspace(-4, 4, 33)
    shares = fitted.distribution(expected)
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares @ raters.SCALE, expected, atol=1e-9)


def test_spread_is_that_of_the_people_at_that_level():
    """Half of the texts divide people, half do not: the spread must be fitted level by level."""
    rng = np.random.default_rng(5)
    ratings = [rng.choice([-3, 3], size=20).tolist() for _ in range(300)] + [[2] * 20 for _ in range(300)]
    texts = ["cult oddity"] * 300 + ["pleasant film"] * 300
    shares = raters.fit(texts, ratings, seed=0).distribution(np.array([0.0, 2.0]))
    assert shares[0, [1, 7]].sum() > 0.95
    assert shares[1, 6] > 0.95


def test_comparison_is_a_function_of_seed_and_row(fitted):
    texts, _, _ = population(40, seed=6)
    first, second = texts[:20], texts[20:]
    whole = fitted.compare(first, second, seed=7, raters=3)
    np.testing.assert_array_equal(whole, fitted.compare(first, second, seed=7, raters=3))
    np.testing.assert_array_equal(whole[:5], fitted.compare(first[:5], second[:5], seed=7, raters=3))
    assert (whole != fitted.compare(first, second, seed=8, raters=3)).any()


def test_a_better_text_wins_mostly_and_equal_texts_half_the_time(fitted):
    good, bad = ["word40 word39 word38 word37"] * 2000, ["word0 word1 word2 word3"] * 2000
    assert fitted.compare(good, bad, seed=0).mean() < 0.02
    assert fitted.compare(bad, good, seed=0).mean() > 0.98
    assert fitted.compare(good, good, seed=0).mean() == pytest.approx(0.5, abs=0.04)


@settings(max_examples=40)
@given(
    first=st.lists(st.integers(-4, 4), min_size=2, max_size=5),
    second=st.lists(st.integers(-4, 4), min_size=2, max_size=5),
)
def test_disagreement_is_the_mean_over_all_pairs_of_disjoint_choices(first, second):
    rates = []
    for i, one in enumerate(first):
        for k, other in enumerate(first):
            for j, mine in enumerate(second):
                for m, yours in enumerate(second):
                    if i != k and j != m:
                        p = 0.5 + 0.5 * np.sign(mine - one)
                        q = 0.5 + 0.5 * np.sign(yours - other)
                        rates.append(p * (1 - q) + q * (1 - p))
    assert raters.disagreements([first], [second]) == pytest.approx([np.mean(rates)])


@pytest.mark.parametrize(
    ("texts", "ratings", "message"),
    [
        (["a film"] * 9, [[1, 2]] * 9, "9 texts"),
        (["a film"] * 12, [[1, 2]] * 11, "11 lists"),
        (["a film"] * 12, [[1, 2]] * 11 + [[1, 5]], "text 11"),
        (["a film"] * 12, [[1, 2]] * 11 + [[1]], "text 11"),
    ],
)
def test_bad_ratings_are_named(texts, ratings, message):
    with pytest.raises(InputError, match=message):
        raters.fit(texts, ratings, seed=0)


def test_unpaired_texts_are_refused(fitted):
    with pytest.raises(InputError, match="2 first texts but 1"):
        fitted.compare(["a", "b"], ["c"], seed=0)
