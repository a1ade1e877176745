from __future__ import annotations

import hashlib
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, load_from_disk

from jokbo.preferences import pairs, raters, ratings
from jokbo.preferences import simulated as simulated_raters
from jokbo.runtime.errors import InputError


@pytest.fixture(scope="module")
def snippets():
    rng = np.random.default_rng(0)
    texts = [f"snippet number {i}" for i in range(40)]
    return texts, [
        np.clip(rng.normal(rng.normal(0, 2), 1, 15).round(), -4, 4).astype(int).tolist() for _ in texts
    ]


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(1)
    good = rng.random(200) < 0.5
    texts = [f"a {'great' if is_good else 'dreadful'} film {i % 7}" for i, is_good in enumerate(good)]
    return raters.fit(texts, [[3, 2, 3, 1] if is_good else [-3, -2, -1, -3] for is_good in good], seed=0)


def human(snippets, **changes):
    settings = {"pairs": 100, "seed": 3, "minimum_agreement": 0.5} | changes
    return ratings.pairs_of(ratings.Rated("films", *snippets), **settings)


def test_choice_and_agreement_are_those_of_all_rating_pairs(snippets):
    texts, ratings = snippets
    for row in human(snippets):
        first, second = (ratings[texts.index(response)] for response in row["responses"])
        wins = [sum(a > b for a, b in product(first, second)), sum(a < b for a, b in product(first, second))]
        assert row["choice"] == int(np.argmax(wins))
        assert row["agreement"] == pytest.approx(max(wins) / sum(wins))
        assert wins[0] != wins[1]


def test_no_two_snippets_meet_twice_nor_one_itself(snippets):
    rows = human(snippets, pairs=500)
    meetings = {frozenset(row["responses"]) for row in rows}
    assert len(meetings) == len(rows) == 500
    assert all(len(meeting) == 2 for meeting in meetings)


def test_every_pair_that_is_not_a_draw_can_be_had(snippets):
    _, ratings = snippets
    decided = sum(
        sum(a > b for a, b in product(first, second)) != sum(a < b for a, b in product(first, second))
        for first, second in combinations(ratings, 2)
    )
    assert len(human(snippets, pairs=decided)) == decided
    with pytest.raises(InputError, match=f"give {decided} pairs"):
        human(snippets, pairs=decided + 1)


def test_minimum_agreement_is_kept_and_order_is_fair(snippets):
    rows = human(snippets, pairs=400, minimum_agreement=0.7)
    assert min(row["agreement"] for row in rows) >= 0.7
    assert np.mean([row["choice"] for row in rows]) == pytest.approx(0.5, abs=0.1)


def test_either_text_may_come_first():
    two = ["good", "bad"], [[3, 3], [-3, -3]]
    orders = [tuple(human(two, pairs=1, seed=seed)[0]["responses"]) for seed in range(12)]
    assert set(orders) == {("good", "bad"), ("bad", "good")}


def test_human_pairs_follow_the_seed(snippets):
    assert human(snippets) == human(snippets)
    assert human(snippets) != human(snippets, seed=4)


def test_rated_snippets_are_those_of_one_source():
    rows = [
        {"text": "a", "sources": ["films", "imdb"], "ratings": [1, 2]},
        {"text": "b", "sources": ["tweets"], "ratings": [3, 3]},
        {"text": "c", "sources": ["films"], "ratings": None},
    ]
    documents = Dataset.from_list(rows)
    assert ratings.rated(documents, "films") == ratings.Rated("films", ["a"], [[1, 2]])
    with pytest.raises(InputError, match="'imbd' has no rated texts here; sources are films, imdb, tweets"):
        ratings.rated(documents, "imbd")


def test_simulated_raters_prefer_what_people_would(simulated):
    prompts = [f"prompt {i}" for i in range(50)]
    responses = [["a great film", "a dreadful film", " ", "a great film "] for _ in prompts]
    rows = simulated_raters.pairs_of(prompts, responses, simulated, seed=0, source="raters")
    assert len(rows) == 100  # of six pairs three have the empty response and one is of equal texts
    assert np.mean(["great" in row["responses"][row["choice"]] for row in rows]) > 0.9
    assert {(row["source"], row["by_policy"]) for row in rows} == {("raters", True)}
    assert [row["prompt"] for row in rows[::2]] == prompts


def test_nothing_to_compare_is_said(simulated):
    with pytest.raises(InputError, match="no prompt has two different responses"):
        simulated_raters.pairs_of(["p"], [["same", "same"]], simulated, seed=0, source="raters")


def test_same_rows_make_the_same_bytes(snippets, simulated, tmp_path: Path):
    rows = simulated_raters.pairs_of(
        ["p"], [["a great film", "a poor film"]], simulated, seed=0, source="raters"
    )
    digests = []
    for name in ("one", "two"):
        pairs.save({"train": [*rows, *human(snippets)], "test": human(snippets)}, tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        digests.append(
            {str(f.relative_to(tmp_path / name)): hashlib.md5(f.read_bytes()).hexdigest() for f in files}
        )
    assert digests[0] == digests[1]
    loaded = load_from_disk(str(tmp_path / "one"))
    assert loaded["train"].to_list() == [*rows, *human(snippets)]
    assert loaded["test"].features == pairs.FEATURES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choice": 2}, "preference pair 1: choice is 2"),
        ({"choice": -1}, "preference pair 1: choice is -1"),
        ({"choice": True}, "preference pair 1: choice is True"),
        ({"responses": ["only"], "choice": 0}, r"preference pair 1: 1 response\(s\)"),
        ({"responses": ["a", " \n"]}, "preference pair 1: response 1 is"),
        ({"responses": ["a", None]}, "preference pair 1: response 1 is None"),
        ({"responses": ["a", "b", "c"]}, r"preference pair 1: 3 response\(s\); give two"),
        ({"agreement": 1.2}, "preference pair 1: agreement is 1.2"),
        ({"note": "x"}, r"preference pair 1: missing \[\], unknown \['note'\]"),
    ],
)
def test_bad_rows_are_named(snippets, change, message):
    good = human(snippets, pairs=1)[0]
    with pytest.raises(InputError, match=message):
        pairs.table_of([good, good | change])
