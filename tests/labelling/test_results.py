"""What people said, as lines and as files; and votes that another database has, which are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jokbo.labelling import results, store
from jokbo.labelling.serving import hand_over, votes_of
from jokbo.preferences.batch import Batch, read_votes, votes_file
from tests.labelling.conftest import Page, batch, pair, votes

Making = Callable[[Batch], Page]
ITEMS = [pair(i) for i in range(12)]  # yes is the better answer to an even question, no to an odd one


@pytest.fixture
def judged(page: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """A page on which two people are always right, and a third is wrong in half of the items."""
    monkeypatch.chdir(tmp_path)
    made = page(batch(ITEMS, labels=3))
    for name in ("ann", "bo", "cy"):
        somebody = made.visitor(name)
        for _ in ITEMS:
            (number,) = map(int, re.findall(r">Question (\d+)\?<", somebody.text))
            yes_is_first = somebody.text.index(">yes ") < somebody.text.index(">no ")
            wrong = name == "cy" and number % 4 < 2
            somebody.vote("first" if yes_is_first ^ (number % 2) ^ wrong else "second")
    return made


def test_agreement_says_how_far_each_can_be_relied_on(judged: Page) -> None:
    said = results.agreed(judged.desk.batch, judged.queue.engine)
    assert said[0].startswith("36 of 36 labels are in")
    reliable = [line for line in said if "by Dawid and Skene's model" in line]
    assert [line.partition(":")[0] for line in reliable] == ["ann", "bo", "cy"]
    assert "ann: gives the true label in 100% by Dawid" in reliable[0]
    assert "cy: gives the true label in 50% by Dawid" in reliable[2]
    assert all("by the noisy Bradley-Terry model" in line for line in reliable)
    assert said[-1].startswith("that model and the majority differ in 0 of 12 comparisons")


def test_too_little_is_said_in_words(page: Making) -> None:
    made = page(batch(ITEMS, labels=3))
    assert results.agreed(made.desk.batch, made.queue.engine)[-1] == (
        "Dawid and Skene's model is undefined: it needs two people or more"
    )
    made.visitor("ann").vote("tie")
    made.visitor("bo").vote("tie")
    said = results.agreed(made.desk.batch, made.queue.engine)
    assert said[-1] == "Dawid and Skene's model is undefined: all said the same of all comparisons"


def test_the_models_of_a_comparison_are_ranked(judged: Page) -> None:
    written = [replace(item, writers=["aligned", "base"]) for item in judged.desk.batch.items]
    said = results.agreed(replace(judged.desk.batch, items=written), judged.queue.engine)
    assert said[-2].startswith("1. aligned: preferred to an average one of these models in ")
    assert said[-1].startswith("2. base: ")
    assert "95% interval" in said[-1]


def test_export_has_one_label_a_comparison_beside_the_majority(judged: Page, tmp_path: Path) -> None:
    said = results.export(judged.desk.batch, judged.queue.engine, tmp_path / "out")
    assert said[-1] == f"12 comparisons, each with one label of all people: {tmp_path / 'out/labels.jsonl'}"
    rows = [json.loads(line) for line in (tmp_path / "out/labels.jsonl").read_text().splitlines()]
    for row in rows:
        better = int(row["responses"][0].removeprefix("yes ")) % 2
        assert (row["majority"], row["dawid_skene"], row["labels"]) == (better, better, 3)


def test_votes_that_another_database_has_are_kept_beside(judged: Page, tmp_path: Path) -> None:
    path = votes_file("film")
    assert "36 votes are in" in hand_over("film", judged.queue.engine)
    assert [file.name for file in path.parent.iterdir()] == ["votes.jsonl"]
    other = store.open_store(f"sqlite:///{tmp_path / 'other.db'}")
    assert len(votes_of("film", other)) == 36
    assert hand_over("film", other) == "no vote is in yet"
    assert len(read_votes(path)) == 36
    fewer = votes(judged)[:3]
    path.write_text("damaged\n" + path.read_text())
    assert hand_over("film", judged.queue.engine).endswith(
        "they are kept as data/local/labels/film/votes-1.jsonl"
    )
    assert read_votes(path)[:3] == fewer
    assert (path.parent / "votes-1.jsonl").read_text().startswith("damaged\n")
