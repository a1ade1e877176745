"""The trainings of a task: the rate that is best on validation stays, and a curve goes on where it was stopped."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import AutoModelForTokenClassification

from jokbo.finetuning.tasks import classifier, scores, tuning
from jokbo.finetuning.tasks.classification import Classification
from jokbo.params.training import TaskTraining
from jokbo.runtime.tracking import Run
from jokbo.training.job import Job
from tests.finetuning.tasks.test_labelled import data
from tests.support.networks import compute, network

CLASSES = ["apple", "bread", "cheese"]


def task(rates: list[float], curve: object = None) -> tuning.Task:
    """Texts in which the first letter tells the class."""
    rows = {
        split: {f"{each[0]} {begin}{i}": each for i in range(12) for each in CLASSES}
        for begin, split in enumerate(("train", "validation", "test"))
    }
    own = TaskTraining(
        steps=30, batch_size=6, precision="fp32", warmup_steps=2, decay_fraction=0.5, gradient_clip=1.0,
        betas=[0.9, 0.95], weight_decay=0.0,
    )  # fmt: skip
    settings = SimpleNamespace(
        kind="classification", rates=rates, language_model_weight=0.0, training=own, curve=curve
    )
    return tuning.Task(Classification(), data(**rows), settings)


START = tuning.Start(lambda seed: network(seed=seed))


def job(folder: Path) -> Job:
    return Job("foods", 1, compute(), Run(), folder / "foods")


def test_the_rate_that_is_best_on_validation_stays(tmp_path: Path) -> None:
    own = task([1e-7, 0.01])
    found = tuning.searched(job(tmp_path), own, START)
    assert found.rate == 0.01
    assert found.validation == 1.0
    (few,) = {tuning.searched(job(tmp_path / "other"), task([1e-7]), START).rate}
    assert few == 1e-7


def test_a_model_that_is_saved_opens_with_its_classes(tmp_path: Path) -> None:
    found = tuning.searched(job(tmp_path), task([0.01]), START)
    found.network.save_pretrained(tmp_path / "saved")
    opened = AutoModelForTokenClassification.from_pretrained(tmp_path / "saved")
    assert opened.config.id2label == {0: "apple", 1: "bread", 2: "cheese"}
    assert opened.config.label2id == {"apple": 0, "bread": 1, "cheese": 2}
    tokens = data().tokens["test"]
    np.testing.assert_allclose(
        *(classifier.logits(each, Classification(), tokens) for each in (opened, found.network)), rtol=1e-5
    )


def test_scores_are_counted_by_class(tmp_path: Path) -> None:
    own = task([0.01])
    found = scores.of_network(tuning.searched(job(tmp_path), own, START), own, seed=1)
    assert found.test.confusion == [[12, 0, 0], [0, 12, 0], [0, 0, 12]]
    assert found.test.accuracy == found.test.macro_f1 == {"value": 1.0, "low": 1.0, "high": 1.0}
    told = scores.result(own, {"pretrained": found, "naive_bayes": scores.of_naive_bayes(own, 1)}, [])
    assert told.rows["train"] == [12, 12, 12]
    assert told.classes == CLASSES


def test_a_curve_goes_on_from_what_it_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = task([1e-7, 0.01], SimpleNamespace(labels=[6, "all"], seeds=2))
    points = tuning.curve(job(tmp_path), own, {"pretrained": START})
    assert [point.labels for point in points] == [6, 36]
    value = points[1].classifiers["pretrained"]
    assert (value.mean, value.standard_error, value.learning_rate) == (1.0, 0.0, 0.01)
    assert points[1].classifiers["naive_bayes"].standard_error == 0.0
    kept = sorted(path.name for path in (tmp_path / "foods").rglob("*.json"))
    assert len(kept) == 2 * (2 + 1)  # of each number of labels: two rates with the first seed, one more seed
    assert not list((tmp_path / "foods").rglob("*.safetensors")), "checkpoints of what has ended"

    trained = []
    monkeypatch.setattr(tuning, "trained", partial(_noted, tuning.trained, trained))
    assert tuning.curve(job(tmp_path), own, {"pretrained": START}) == points
    assert trained == []
    next((tmp_path / "foods").rglob("*-36-0.01-2.json")).unlink()
    assert tuning.curve(job(tmp_path), own, {"pretrained": START}) == points
    assert trained == [(0.01, 2)]
    shutil.rmtree(tmp_path / "foods")


def _noted(train, trained, job, task, rate, start):
    trained.append((rate, job.seed))
    return train(job, task, rate, start)
