"""The stage on made-up reviews, with real tokens and real trainings."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, DatasetDict
from tokenizers import Tokenizer

from jokbo import params
from jokbo.comparison.texts import LEXICON, TASKS
from jokbo.data.corpus.tokenizer import save_tokenizer, train_tokenizer
from jokbo.runtime import tracking
from tasks.family_baselines import family_baselines
from tasks.frame import projects
from tasks.frame.paths import FAMILY_DATA, METRICS
from tests.conftest import ROOT
from tests.support.miniature import BAD, GOOD, THINGS

SETTINGS = projects.load(ROOT / "family")
SMALL = {
    "context": 12,
    "precision": "fp32",
    "cnn": {"embedding": 16, "widths": [2, 3], "filters": 8, "dropout": 0.1},
    "lstm": {"embedding": 16, "layers": 1, "hidden_size": 8, "dropout": 0.1},
    "finetune": {
        "seeds": [1, 2],
        "learning_rates": [1e-6, 0.02],
        "batch_size": 16,
        "labels": [{"count": "all", "steps": 15}],
    }
    | {"warmup_fraction": 0.1},
}


def stage() -> SimpleNamespace:
    section = SETTINGS.family_baselines.model_dump() | SMALL
    return SimpleNamespace(
        name="family_baselines",
        params=params.FamilyBaselines.model_validate(section),
        compute=SETTINGS.compute,
        checkpoints=Path(".jokbo/checkpoints/family_baselines"),
        run=tracking.Run(),
    )


def found() -> dict:
    family_baselines(stage())
    return json.loads((METRICS / "family_baselines.json").read_text())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(0)
    texts = []
    for name in ("one", "other"):
        splits = {}
        for split, count in (("train", 120), ("validation", 40), ("test", 40)):
            labels = [number % 2 for number in range(count)]
            rows = [
                f"The {draw.choice(THINGS)} is {draw.choice(GOOD if label else BAD)}." for label in labels
            ]
            splits[split] = Dataset.from_dict({"text": rows, "label": labels})
            texts += rows
        DatasetDict(splits).save_to_disk(str(FAMILY_DATA / TASKS / name))
    words = dict.fromkeys(GOOD, 2.0) | dict.fromkeys(BAD[:4], -2.0)  # it knows half of the bad ones
    (FAMILY_DATA / LEXICON).write_text(json.dumps(words))
    wordpiece = SETTINGS.family_text.texts["wordpiece"].model_copy(update={"vocabulary": 200})
    save_tokenizer(train_tokenizer(texts, wordpiece), FAMILY_DATA / "wordpiece" / "tokenizer")


def test_each_baseline_learns_and_a_run_that_goes_on_finds_the_same(
    project: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = found()
    words = {f"{name}{much}" for name in ("naive_bayes", "tfidf") for much in ("", "_whole")}
    assert set(first) == {"rules", "cnn", "lstm"} | words
    for name, metrics in first.items():
        measured = metrics["downstream"]
        assert set(measured["tasks"]) == {"one", "other"}
        for task in measured["tasks"].values():
            assert len(task["accuracies"]) == (2 if name in ("cnn", "lstm") else 1)
            assert task["learning_rate"] == (0.02 if name in ("cnn", "lstm") else None)
        # half of the bad words say nothing to the rules, which then go by the labels: as many good ones as bad
        assert 0.65 < measured["mean"] < 0.9 if name == "rules" else measured["mean"] > 0.75, name
    assert first["rules"]["parameters"] == 0
    words = 16 * Tokenizer.from_file(str(FAMILY_DATA / "wordpiece/tokenizer/tokenizer.json")).get_vocab_size()
    # embeddings; filters of 2 and 3 tokens, or two directions of four gates; the layer of two labels
    assert first["cnn"]["parameters"] == words + (5 * 16 + 2) * 8 + 2 * 16 + 2
    assert first["lstm"]["parameters"] == words + 2 * 4 * 8 * (16 + 8 + 2) + 2 * 16 + 2
    assert first["lstm"]["downstream"]["mean"] < 1  # so that another outcome would show
    for kept in Path(".jokbo").rglob("*-0.02-2.json"):
        kept.unlink()  # as if it had been stopped before these
    torch.manual_seed(99)
    again = found()
    for name, metrics in again.items():
        assert metrics["downstream"] == first[name]["downstream"]
