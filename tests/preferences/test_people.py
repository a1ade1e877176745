"""The labeller of kind people: what it asks, what it waits for, and what votes become."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import DatasetDict
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from jokbo.data.prompts import Prompts
from jokbo.params import People, checks
from jokbo.preferences import people
from jokbo.preferences.batch import Batch, Vote, batch_file, published, votes_file, write_votes
from jokbo.preferences.labeller import Given, Labelled
from jokbo.preferences.pairs import table_of
from jokbo.runtime.errors import InputError, Waiting
from tests.preferences.test_imported import settings as chain_settings
from tests.support.networks import END, PADDING, VOCABULARY, network, tokens

pytestmark = pytest.mark.usefixtures("local")
PROMPT, ANSWER, ASKED = 4, 6, 12
SETTINGS = {
    "kind": "people",
    "prompts": ASKED,
    "responses_per_prompt": 2,
    "ask": "pairs",
    "temperature": 1.0,
    "labels_per_item": 2,
    "held_out": 0.3,
    "votes": "all",
}
NUMBERS = count(1)
Saying = Callable[[Batch, int], tuple[Any, ...]]


def tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{i}": i for i in range(VOCABULARY)}
    made = Tokenizer(models.WordLevel(words, unk_token="w2"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=f"w{END}", pad_token=f"w{PADDING}", unk_token="w2"
    )


def given(seed: int = 1, weights: int = 0, evaluated: Iterable[str] = ()) -> Given:
    def prompts(split: str, limit: int | None) -> Prompts:
        assert split == "prompts"
        lengths_N = torch.full((ASKED,), ANSWER)
        return Prompts(tokens(ASKED, PROMPT + ANSWER)[:limit], lengths_N[:limit], PROMPT)

    return Given(
        name="film",
        seed=seed,
        documents=DatasetDict(),
        prompts=prompts,
        evaluated=lambda: list(evaluated),
        tokenizer=tokenizer(),
        policy=lambda: network(seed=weights),
        judge=lambda settings, key: pytest.fail("people need no judge"),
        say=lambda lines: None,
    )


def labelled(asked: Given | None = None, **changes: Any) -> Labelled:
    return people.labelled(People.model_validate(SETTINGS | changes), asked or given())


def asked(**changes: Any) -> Batch:
    """What is published for the page, once the stage has stopped for want of votes."""
    with pytest.raises(InputError, match="labels are missing"):
        labelled(**changes)
    found = published("film")
    assert found is not None
    return found


def vote(batch: Batch, at: int, name: str = "ann", ranking: Any = ((0,), (1,)), **more: Any) -> Vote:
    item = batch.items[at]
    values = {
        "number": next(NUMBERS),
        "batch": batch.id,
        "item": item.id,
        "gold": item.ranking is not None,
        "prompt": item.prompt,
        "responses": item.responses,
        "shown": [1, 0],
        "labeller": name,
        "time": "2026-01-31T12:00:00Z",
        "seconds": 3.0,
        "action": "judged" if ranking else "skipped",
        "ranking": [list(group) for group in ranking] if ranking else None,
    }
    return Vote(**values | more)


def store(*votes: Vote) -> None:
    write_votes(votes, votes_file("film"))


def everybody(batch: Batch, **more: Any) -> list[Vote]:
    return [vote(batch, at, name, **more) for at in range(len(batch.items)) for name in ("ann", "bo")]


def test_it_publishes_the_items_and_says_what_is_missing_and_where() -> None:
    batch = asked()
    assert 6 <= len(batch.items) <= ASKED
    assert len(batch.items) + batch.alike == ASKED
    store(vote(batch, 0), vote(batch, 0, "bo"), vote(batch, 1))
    missing = 2 * len(batch.items) - 3
    with pytest.raises(InputError) as caught:
        labelled()
    assert str(caught.value) == (
        f"preferences.labellers.film: {missing} of {2 * len(batch.items)} labels are missing: people give them on the "
        "page of `jokbo label`; then run the same command again, and it goes on"
    )


def set_back(hours: float) -> None:
    """Have the batch published so many hours earlier."""
    found = published("film")
    assert found is not None
    assert found.published is not None
    earlier = datetime.fromisoformat(found.published) - timedelta(hours=hours)
    replace(found, published=earlier.isoformat()).save(batch_file("film"))


def test_at_the_deadline_what_is_in_is_used_if_that_is_allowed() -> None:
    batch = asked(deadline_hours=2, enough=0.5)
    half = everybody(batch)[: len(batch.items)]
    store(*half)
    with pytest.raises(Waiting, match=rf"waiting ends at \d.* UTC, where {len(batch.items)} suffice"):
        labelled(deadline_hours=2, enough=0.5)
    set_back(3)
    found = labelled(deadline_hours=2, enough=0.5, held_out=0.0)
    assert len(found.train) == len(batch.items)
    assert found.left_out["missing"][:2] == (len(batch.items), 2 * len(batch.items))
    store(*half[:-1])
    with pytest.raises(
        InputError, match=rf"missing at the deadline, .* and {len(batch.items)} are needed"
    ) as few:
        labelled(deadline_hours=2, enough=0.5)
    assert not isinstance(few.value, Waiting)


def test_without_enough_all_labels_are_needed_at_the_deadline_too() -> None:
    batch = asked(deadline_hours=2)
    store(*everybody(batch)[1:])
    set_back(3)
    needed = 2 * len(batch.items)
    with pytest.raises(
        InputError, match=f"1 of {needed} labels are missing at the deadline.*, and {needed} are"
    ):
        labelled(deadline_hours=2)
    store(*everybody(batch))
    assert len(labelled(deadline_hours=2, held_out=0.0).train) == needed


def test_it_publishes_once(local: Path) -> None:
    asked()
    before = batch_file("film").stat().st_mtime_ns
    store(*everybody(asked())[1:])
    asked()
    assert batch_file("film").stat().st_mtime_ns == before


def test_with_all_votes_it_goes_on_and_writes_nothing_to_what_it_reads(local: Path) -> None:
    batch = asked()
    store(*everybody(batch))
    before = {path: path.stat().st_mtime_ns for path in local.rglob("*")}
    found = labelled()
    assert {path: path.stat().st_mtime_ns for path in local.rglob("*")} == before
    assert len(found.train) + len(found.test) == 2 * len(batch.items)
    assert {pair["prompt"] for pair in found.train}.isdisjoint(pair["prompt"] for pair in found.test)
    table_of(found.train)
    assert found.left_out["alike"].count == batch.alike
    assert labelled() == found


def test_pairs_have_choice_labeller_time_and_agreement() -> None:
    batch = asked(labels_per_item=3)
    votes = [vote(batch, at, name) for at in range(len(batch.items)) for name in ("ann", "bo")]
    store(*votes, *(vote(batch, at, "cy", ((1,), (0,))) for at in range(len(batch.items))))
    found = labelled(labels_per_item=3, held_out=0.0)
    rows = [row for row in found.train if row["responses"] == batch.items[0].responses]
    assert [(row["labeller"], row["choice"], round(row["agreement"], 3)) for row in rows] == [
        ("ann", 0, 0.667),
        ("bo", 0, 0.667),
        ("cy", 1, 0.333),
    ]
    assert {(row["time"], row["source"], row["by_policy"]) for row in rows} == {
        ("2026-01-31T12:00:00Z", "film", True)
    }
    assert found.disagreement["human"]["value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("how", ["majority", "dawid_skene"])
def test_one_pair_of_each_comparison_if_the_labels_are_put_together(how: str) -> None:
    batch = asked(labels_per_item=3)
    votes = [vote(batch, at, name) for at in range(len(batch.items)) for name in ("ann", "bo")]
    store(*votes, *(vote(batch, at, "cy", ((1,), (0,))) for at in range(len(batch.items))))
    found = labelled(labels_per_item=3, held_out=0.0, votes=how)
    assert len(found.train) == len(batch.items)
    assert {(row["choice"], row["labeller"], round(row["agreement"], 3)) for row in found.train} == {
        (0, None, 0.667)
    }
    assert found.disagreement["human"]["value"] == pytest.approx(2 / 3)
    table_of(found.train)


def test_where_no_model_can_be_fitted_the_majority_is_taken_and_that_is_said() -> None:
    batch, said = asked(labels_per_item=1), []
    store(*(vote(batch, at) for at in range(len(batch.items))))
    own = replace(given(), say=said.extend)
    found = labelled(own, labels_per_item=1, held_out=0.0, votes="dawid_skene")
    assert {row["choice"] for row in found.train} == {0}
    assert said[-1] == (
        "film: no model of Dawid and Skene (it needs two people or more): the majority is taken"
    )


def test_ties_stay_and_both_bad_is_a_tie_that_the_file_tells_apart() -> None:
    batch = asked()
    store(*everybody(batch, ranking=((0, 1),), both_bad=True))
    assert {row["choice"] for row in labelled(held_out=0.0).train} == {None}
    assert json.loads(votes_file("film").read_text().splitlines()[0])["both_bad"] is True
    with pytest.raises(InputError, match="none is left to test on: no judgement but ties"):
        labelled()


def test_the_last_vote_counts_and_one_that_was_taken_back_does_not() -> None:
    batch = asked(labels_per_item=1)
    first = [vote(batch, at) for at in range(len(batch.items))]
    changed = replace(first[0], number=next(NUMBERS), replaces=first[0].number, ranking=[[1], [0]])
    store(*first, changed)
    rows = labelled(labels_per_item=1, held_out=0.0).train
    assert len(rows) == len(batch.items)
    assert [row["choice"] for row in rows if row["responses"] == batch.items[0].responses] == [1]
    store(*first, changed, replace(changed, number=next(NUMBERS), action="withdrawn"))
    with pytest.raises(InputError, match=f": 1 of {len(batch.items)} labels are missing"):
        labelled(labels_per_item=1)
    store(*first[1:], replace(first[0], action="late"))
    with pytest.raises(InputError, match=f": 1 of {len(batch.items)} labels are missing"):
        labelled(labels_per_item=1)


def test_a_skipped_item_is_answered_and_counted() -> None:
    batch = asked()
    store(*everybody(batch)[2:], vote(batch, 0, ranking=None), vote(batch, 0, "bo", None))
    found = labelled(held_out=0.0)
    assert len(found.train) == 2 * (len(batch.items) - 1)
    assert found.left_out["skipped"][:2] == (2, 2 * len(batch.items))


@pytest.mark.parametrize("changed", [{"seed": 2}, {"weights": 1}, {"temperature": 1.5}])
def test_votes_on_other_responses_are_counted_and_never_used(changed: dict[str, Any]) -> None:
    """Those of another policy, another seed, another temperature."""
    before = asked()
    store(*everybody(before))
    own = given(**{name: value for name, value in changed.items() if name != "temperature"})
    sampling = {"temperature": changed.get("temperature", 1.0), "held_out": 0.0}
    with pytest.raises(
        InputError, match=f"{len(everybody(before))} votes are of other responses, and do not count"
    ):
        labelled(own, **sampling)
    after = published("film")
    assert after is not None
    assert after.id != before.id
    store(*everybody(before), *everybody(after))
    found = labelled(own, **sampling)
    texts = {(item.prompt, *item.responses) for item in after.items}
    assert {(row["prompt"], *row["responses"]) for row in found.train} == texts
    assert found.left_out["other_responses"].count == len(everybody(before))


def test_more_labels_an_item_keep_the_votes_that_are_in() -> None:
    batch = asked()
    store(*everybody(batch))
    more = asked(labels_per_item=3)
    assert (more.id, more.items, more.labels_per_item) == (batch.id, batch.items, 3)


def test_rankings_are_pairs_of_every_two_responses() -> None:
    batch = asked(responses_per_prompt=4, ask="rankings", labels_per_item=1)
    assert Counter(len(item.responses) for item in batch.items).most_common(1)[0][0] == 4
    store(*(vote(batch, at, ranking=best_last(item.responses)) for at, item in enumerate(batch.items)))
    rows = labelled(responses_per_prompt=4, ask="rankings", labels_per_item=1, held_out=0.0).train
    assert len(rows) == sum(len(i.responses) * (len(i.responses) - 1) // 2 for i in batch.items)
    order = {(item.prompt, text): at for item in batch.items for at, text in enumerate(item.responses)}
    for row in rows:
        places = [order[row["prompt"], text] for text in row["responses"]]
        assert row["choice"] == places.index(max(places))


def best_last(responses: list[str]) -> list[list[int]]:
    return [[at] for at in reversed(range(len(responses)))]


def test_prompts_that_models_are_evaluated_on_are_not_asked() -> None:
    batch = asked()
    with pytest.raises(InputError):
        labelled(given(evaluated=[batch.items[0].prompt.upper()]))
    found = published("film")
    assert found is not None
    assert batch.items[0].prompt not in {item.prompt for item in found.items}
    assert found.evaluated == 1


def test_gold_items_are_asked_beside_the_others_and_make_no_pairs(local: Path) -> None:
    row = {"prompt": "Gold?", "responses": ["right", "wrong"], "choice": 0}
    (local / "gold.jsonl").write_text(json.dumps(row) + "\n")
    batch = asked(gold="gold.jsonl")
    assert batch.items[-1].ranking == [[0], [1]]
    store(*everybody(batch))
    found = labelled(gold="gold.jsonl", held_out=0.0)
    assert len(found.train) == 2 * len(batch.asked()) == 2 * (len(batch.items) - 1)


def test_responses_that_nobody_could_choose_between_are_not_asked() -> None:
    items, left = people.items_of(["p", "q"], [["a", "a ", "", "b"], ["c", " c", "", "\n"]], rank=False)
    assert [item.responses for item in items] == [["a", "b"]]
    assert left == 11
    items, left = people.items_of(["p", "q"], [["a", "a ", "", "b"], ["c", " c", "", "\n"]], rank=True)
    assert [item.responses for item in items] == [["a", "b"]]
    assert left == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"votes.jsonl:1"),
        ('{"prompt": "p"}', r"votes.jsonl:1: number: field required"),
        ("TEXTS", r"votes.jsonl:1: the texts of item \w+ were changed: write the file again by `jokbo label"),
        ("RANKING", r"votes.jsonl:1: the ranking \[\[0\], \[2\]\] is no permutation"),
    ],
)
def test_a_damaged_file_of_votes_is_one_line(line: str, message: str) -> None:
    found = vote(asked(), 0)
    changed = {"TEXTS": replace(found, prompt="another"), "RANKING": replace(found, ranking=[[0], [2]])}
    if line in changed:
        store(changed[line])
    else:
        votes_file("film").write_text(line + "\n")
    with pytest.raises(InputError, match=message) as caught:
        people.check("film", People.model_validate(SETTINGS))
    assert "\n" not in str(caught.value)


def test_a_batch_whose_texts_were_changed_is_refused() -> None:
    asked()
    path = batch_file("film")
    tree = json.loads(path.read_text())
    tree["items"][0]["responses"][0] += "!"
    path.write_text(json.dumps(tree))
    with pytest.raises(
        InputError, match=r"batch.json: the texts of item \w+ were changed: restore or remove"
    ):
        labelled()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("instructions", "nosuch.txt", "film.instructions: data/local/nosuch.txt cannot be read"),
        ("instructions", "../secret", "film.instructions is '../secret'"),
        ("gold", "nosuch.jsonl", "film.gold: no file matches data/local/nosuch.jsonl"),
        ("gold", "bad.jsonl", "bad.jsonl:1: there is no 'choice'"),
    ],
)
def test_files_of_the_settings_are_checked_before_anything_runs(
    local: Path, key: str, value: str, message: str
) -> None:
    (local / "bad.jsonl").write_text('{"prompt": "p", "responses": ["a", "b"]}\n')
    wrong = chain_settings(film=SETTINGS | {key: value})
    with pytest.raises(InputError, match=message):
        checks.check_files(wrong, ["preferences"], local.parent.parent)
    checks.check_files(wrong, ["reward"], local.parent.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"responses_per_prompt": 10}, "responses_per_prompt"),
        ({"labels_per_item": 0}, "labels_per_item"),
        ({"ask": "stars"}, "ask"),
        ({"database": "sqlite:///x.db"}, "database"),
        ({"deadline_hours": 0}, "deadline_hours"),
        ({"deadline_hours": 1, "enough": 0.0}, "enough"),
        ({"enough": 0.5}, "enough is for a deadline: give deadline_hours too"),
        ({"votes": "best"}, "votes"),
    ],
)
def test_settings_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        People.model_validate(SETTINGS | change)
