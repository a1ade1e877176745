"""Models compared by people: what is asked, that nobody sees who wrote what, and the ranking."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jokbo.labelling import store
from jokbo.labelling.models import Rank, batch_of, ranking
from jokbo.preferences.batch import Batch, Item, Vote
from jokbo.runtime.errors import InputError
from tests.labelling.conftest import Page
from tests.labelling.test_agreement import vote

STRENGTH = {"base": 0.1, "supervised": 0.5, "aligned": 0.9}


def samples(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def asked(folder: Path, prompts: int = 60) -> Batch:
    rows = [
        {"prompt": f"p{i}", "judges": {"c": {}}} | {name: f"{name} {i}" for name in STRENGTH}
        for i in range(80)
    ]
    return batch_of(samples(folder, rows), prompts, labels_per_item=1)


def judged(batch: Batch) -> list[Vote]:
    """Votes of one who prefers a model as often as its strength over that of the other says."""
    rng, votes = random.Random(1), []
    for item in batch.items:
        assert item.writers is not None
        one, other = (STRENGTH[name] for name in item.writers)
        choice = int(rng.random() >= one / (one + other))
        votes.append(of(item, choice))
    return votes


def of(item: Item, value: Any) -> Vote:
    """What ann says of an item."""
    return replace(vote(0, "ann", value), item=item.id, prompt=item.prompt, responses=item.responses)


def test_every_two_models_of_the_first_prompts_are_asked(tmp_path: Path) -> None:
    batch = asked(tmp_path, prompts=10)
    assert len(batch.items) == 30
    assert {item.prompt for item in batch.items} == {f"p{i}" for i in range(10)}
    for item in batch.items:
        assert item.writers is not None
        assert [text.split()[0] for text in item.responses] == item.writers


def test_the_ranking_is_by_strength_with_an_interval(tmp_path: Path) -> None:
    batch = asked(tmp_path)
    found = ranking(batch, judged(batch))
    assert isinstance(found, list)
    assert [row.name for row in found] == ["aligned", "supervised", "base"]
    for row in found:
        assert row.low <= row.share <= row.high
    assert found[0].low > 0.5 > found[2].high
    assert ranking(batch, judged(batch)) == found


def test_a_model_that_always_wins_has_a_rank_and_ties_are_half_a_win(tmp_path: Path) -> None:
    batch = asked(tmp_path)
    always = [
        of(item, (item.writers or []).index("aligned") if "aligned" in (item.writers or []) else "tie")
        for item in batch.items
    ]
    found = ranking(batch, always)
    assert isinstance(found, list)
    first, *others = found
    assert isinstance(first, Rank)
    assert (first.name, first.share > 0.9) == ("aligned", True)
    assert others[0].share == pytest.approx(others[1].share)


def test_too_little_for_a_ranking_is_said(tmp_path: Path) -> None:
    batch = asked(tmp_path)
    assert ranking(batch, []) == "it needs judgements of two prompts or more"
    assert ranking(batch, judged(batch)[:1]) == "it needs judgements of two prompts or more"


def test_neither_the_page_nor_its_database_knows_who_wrote(
    tmp_path: Path, page: Callable[[Batch], Page]
) -> None:
    names = {"model_one": "first text", "model_two": "second text"}
    path = samples(tmp_path, [{"prompt": f"p{i}", **names} for i in range(3)])
    made = page(batch_of(path, 3, labels_per_item=1))
    ann = made.visitor()
    seen = ann.text + ann.vote("first") + ann.get("/mine")
    assert "first text" in seen
    assert "model_" not in seen
    with made.queue.engine.connect() as connection:
        assert "model_" not in str(connection.execute(store.items.select()).all())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "samples.jsonl: not there: run the stage evaluate"),
        ([{"prompt": "p", "base": "a"}], "samples.jsonl:1: 1 model wrote here: people compare two or more"),
        ([{"prompt": "p", "base": "a", "aligned": " a"}], "no two models wrote different texts"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    tmp_path: Path, rows: list[dict[str, Any]] | None, message: str
) -> None:
    path = tmp_path / "samples.jsonl" if rows is None else samples(tmp_path, rows)
    with pytest.raises(InputError, match=message) as caught:
        batch_of(path, 10, 2)
    assert "\n" not in str(caught.value)
