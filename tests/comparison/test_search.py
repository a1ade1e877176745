"""Labelled texts as tokens, and the search for a learning rate that all systems share."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict

from jokbo.comparison.search import (
    SPLITS,
    Task,
    batches,
    frozen,
    over_tasks,
    parted,
    search,
    spread,
    tasks_in,
    together,
)
from jokbo.runtime.errors import InputError
from tests.finetuning.tasks.test_classifier import Words
from tests.support.networks import PADDING
from tests.training.ranks import in_two_ranks


class CutWords(Words):
    def __call__(self, texts: list[str], *, max_length: int, **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [ids[:max_length] for ids in super().__call__(texts)["input_ids"]]}


def test_tasks_are_the_first_tokens_of_texts_and_padding(tmp_path: Path) -> None:
    rows = {"text": ["ab", "abcdefgh", ""], "label": [1, 0, 1]}
    for name in ("snippets", "imdb"):
        splits = {split: Dataset.from_dict(rows) for split in ("train", "test")}
        DatasetDict(splits).save_to_disk(str(tmp_path / name))
    imdb, snippets = tasks_in(tmp_path, CutWords(), 4)
    assert (imdb.name, snippets.name) == ("imdb", "snippets")
    whole = Words()(rows["text"])["input_ids"]
    assert imdb.tokens["test"].tolist() == [whole[0] + [PADDING] * 2, whole[1][:4], [PADDING] * 4]
    assert imdb.labels["test"].tolist() == [1, 0, 1]


def task(name: str = "made up") -> Task:
    """Texts of one token and padding, which is the label plus two."""
    labels = torch.tensor([0, 1] * 20)
    tokens = torch.full((40, 3), PADDING)
    tokens[:, 0] = labels + 2
    return Task(name, dict.fromkeys(SPLITS, tokens), dict.fromkeys(SPLITS, labels), PADDING)


class Says(torch.nn.Module):
    """Right about the first so many of 40 texts: a stand-in for a classifier of known accuracy."""

    def __init__(self, right: int) -> None:
        super().__init__()
        self.right, self.asked = right, 0

    def logits(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        positions = self.asked + torch.arange(len(tokens_BT))
        self.asked = (self.asked + len(tokens_BT)) % 40
        said = torch.where(positions < self.right, tokens_BT[:, 0] - 2, 3 - tokens_BT[:, 0])
        return torch.nn.functional.one_hot(said, 2).float()


RIGHT = {(0.1, 1): 24, (0.2, 1): 30, (0.3, 1): 30, (0.2, 2): 20, (0.2, 3): 34}


def found(done: Path, seeds: list[int], fitted: object) -> dict:
    rates = [0.1, 0.2, 0.3]
    return search([task(), task("b")], fitted, learning_rates=rates, seeds=seeds, precision="fp32", done=done)


def test_the_rate_that_is_best_on_validation_is_run_with_every_seed(tmp_path: Path) -> None:
    """Of two as good the first; no other rate is run with the other seeds."""
    run = []

    def fitted(task: Task, rate: float, seed: int) -> Says:
        run.append((task.name, rate, seed))
        return Says(RIGHT[rate, seed])

    result = found(tmp_path / "done", [1, 2, 3], fitted)
    assert run == [(name, *each) for name in ("made up", "b") for each in RIGHT]
    accuracies = [30 / 40, 20 / 40, 34 / 40]
    assert result["tasks"]["b"] == {
        "accuracies": accuracies,
        "right": "".join(str(sum(text < right for right in (30, 20, 34))) for text in range(40)),
        "mean": pytest.approx(0.7),
        "sd": pytest.approx(statistics.stdev(accuracies)),
        "validation": 30 / 40,
        "learning_rate": 0.2,
    }
    assert (result["mean"], result["sd"]) == (
        pytest.approx(0.7),
        pytest.approx(statistics.stdev(accuracies)),
    )


def test_a_search_that_goes_on_runs_only_what_is_missing(tmp_path: Path) -> None:
    def fitted(task: Task, rate: float, seed: int) -> Says:
        return Says(RIGHT[rate, seed])

    first = found(tmp_path, [1, 2, 3], fitted)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}
    (tmp_path / "b-0.2-3.json").unlink()
    run = []

    def read_if_there(task: Task, rate: float, seed: int) -> Says:
        run.append((task.name, rate, seed))
        return fitted(task, rate, seed)

    assert found(tmp_path, [1, 2, 3], read_if_there) == first
    assert run == [("b", 0.2, 3)]


RANKS = """
import json, sys
from pathlib import Path
from jokbo.training import processes
from tests.comparison import test_search as own

def fitted(task, rate, seed):
    processes.largest(0.0)  # as a training, which the ranks do together
    run.append((task.name, rate, seed))
    return own.Says(own.RIGHT[rate, seed])

processes.join()
run = []
own.search([own.task()], fitted, learning_rates=[0.1, 0.2], seeds=[1, 2, 3], precision="fp32", done=Path(sys.argv[1]))
Path(f"{sys.argv[1]}-{processes.rank()}.json").write_text(json.dumps(run))
"""


def test_ranks_search_in_step(tmp_path: Path) -> None:
    """Rank 0 alone writes what a training came to; here the best rate is the last that was tried."""
    in_two_ranks(RANKS, tmp_path, tmp_path / "run")
    runs = [json.loads((tmp_path / f"run-{rank}.json").read_text()) for rank in (0, 1)]
    assert runs[0] == runs[1] == [["made up", *each] for each in [(0.1, 1), (0.2, 1), (0.2, 2), (0.2, 3)]]


def test_means_over_tasks_are_taken_within_each_seed() -> None:
    """Two tasks whose seeds go opposite ways: their mean has no spread."""
    figures = {"a": {"accuracies": [0.6, 0.8]}, "b": {"accuracies": [0.8, 0.6]}}
    assert over_tasks(figures) == {"mean": pytest.approx(0.7), "sd": pytest.approx(0)}
    assert spread([0.5]) == {"mean": 0.5, "sd": 0.0}


def test_batches_go_through_all_training_texts() -> None:
    """Each as often as the others, whichever steps of a group it falls into."""
    batch_at = batches(task(), 10, 1)  # two groups of eight steps are four epochs of 40
    drawn = torch.cat([batch_at(step)["labels_B"] for step in range(16)])
    assert drawn.sum() == len(drawn) / 2 == 80
    again = batches(task(), 10, 1)
    assert torch.equal(again(11)["labels_B"], batch_at(11)["labels_B"])  # out of turn
    assert any(
        not torch.equal(batches(task(), 10, 2)(step)["labels_B"], again(step)["labels_B"])
        for step in range(8)
    )


def test_texts_of_like_length_share_a_batch_in_no_order_of_length() -> None:
    tokens = torch.full((64, 64), PADDING)
    for row in range(64):
        tokens[row, : row + 1] = 2
    labels = torch.arange(64)
    long = Task("long", dict.fromkeys(SPLITS, tokens), dict.fromkeys(SPLITS, labels), PADDING)
    batch_at = batches(long, 8, 1)
    drawn = [batch_at(step) for step in range(8)]
    assert sorted(torch.cat([batch["labels_B"] for batch in drawn]).tolist()) == list(range(64))
    lengths = [batch["tokens_BT"].shape[1] for batch in drawn]
    assert sorted(lengths) == [8, 16, 24, 32, 40, 48, 56, 64]
    assert lengths != sorted(lengths)
    for batch in drawn:
        assert torch.equal((batch["tokens_BT"] != PADDING).sum(1), batch["labels_B"] + 1)


def test_frozen_features_are_read_by_a_regression_chosen_on_validation() -> None:
    """Of features with the label in one neuron, one accuracy, not one a seed."""
    result = frozen([task()], lambda tokens_NT: tokens_NT.float())
    (made_up,) = result["tasks"].values()
    chosen = {"validation": 1.0, "learning_rate": None}
    assert made_up == {"accuracies": [1.0], "mean": 1.0, "sd": 0.0, "right": "1" * 40, **chosen}
    assert (result["mean"], result["sd"]) == (1.0, 0.0)


def test_a_task_has_its_first_training_texts_alone_or_says_how_many_there_are() -> None:
    few = task().first(6)
    assert torch.equal(few.labels["train"], task().labels["train"][:6])
    assert len(few.tokens["train"]) == 6
    assert torch.equal(few.tokens["test"], task().tokens["test"])
    assert task().first("all").labels["train"].shape == (40,)
    with pytest.raises(InputError, match=r"count of 41: made up has 40 training texts: lower it, or say all"):
        task().first(41)


def test_test_texts_are_asked_only_of_what_is_best_so_far(tmp_path: Path) -> None:
    """Rate 0.3 does as well on validation as 0.2, which was there before it."""
    found(tmp_path, [1, 2, 3], lambda task, rate, seed: Says(RIGHT[rate, seed]))
    asked = {path.stem: "right" in json.loads(path.read_text()) for path in tmp_path.glob("b-*.json")}
    assert asked == {"b-0.1-1": True, "b-0.2-1": True, "b-0.3-1": False, "b-0.2-2": True, "b-0.2-3": True}


def test_what_came_of_each_text_is_taken_apart_and_put_together_again() -> None:
    whole = {"downstream": {"40": {"scratch": {"tasks": {"a": {"mean": 0.5, "right": "01"}}, "mean": 0.5}}}}
    numbers, texts = parted(whole)
    assert texts == {"downstream": {"40": {"scratch": {"tasks": {"a": {"right": "01"}}}}}}
    assert "right" not in json.dumps(numbers)
    assert together(numbers, texts) == whole
