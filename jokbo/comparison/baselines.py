"""What the systems are compared with: rules over a list of words, tf-idf, and two networks without pretraining."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from transformers import AutoTokenizer

from jokbo.comparison.from_scratch import Convolutions, Recurrent
from jokbo.comparison.recipe import fine_tune, of_search
from jokbo.comparison.search import Classifier, Task, outcome, over_tasks, search, tasks_in
from jokbo.comparison.texts import LEXICON, TASKS
from jokbo.data.tables import open_splits
from jokbo.evaluation import baselines
from jokbo.runtime.files import read_json
from jokbo.training import engine

if TYPE_CHECKING:
    from jokbo.params import Compute, FamilyBaselines

Labelled = Mapping[str, tuple[list[str], list[int]]]  # texts and labels, by split
Predict = Callable[[list[str]], np.ndarray]


def measured(
    data: Path, settings: FamilyBaselines, compute: Compute, done: Path
) -> dict[str, dict[str, Any]]:
    """Return what each baseline comes to on the tasks in the folder `data`, which the stage family_text left. What the
    searches have found is kept in the folder `done`."""
    trained = partial(from_scratch, data, settings, compute, done)
    metrics = {}
    for name, title, year, of_it in (
        ("rules", "Rules over a list of words", 2014, partial(with_rules, data)),
        ("tfidf", "tf-idf, logistic regression", 1972, partial(with_tfidf, data)),
        ("cnn", "CNN", 2014, partial(trained, "cnn", Convolutions)),
        ("lstm", "LSTM, both directions", 2005, partial(trained, "lstm", Recurrent)),
    ):
        start = time.monotonic()
        found = of_it()
        metrics[name] = {"title": title, "year": year, **found, "seconds": time.monotonic() - start}
    return metrics


def with_rules(data: Path) -> dict[str, Any]:
    """Return the accuracies of VADER's lexicon and negation, which learn only which label is the more frequent."""
    lexicon = read_json(data / LEXICON)

    def fitted(texts: Labelled) -> tuple[Predict, int]:
        majority = int(np.mean(texts["train"][1]) >= 0.5)
        return partial(baselines.by_rules, lexicon, majority=majority), 0

    return by_words(data, fitted)


def with_tfidf(data: Path) -> dict[str, Any]:
    """Return the accuracies of a logistic regression on tf-idf."""

    def fitted(texts: Labelled) -> tuple[Predict, int]:
        model = baselines.tfidf(*texts["train"], *texts["validation"])
        regression = model[-1]
        assert isinstance(regression, LogisticRegression)
        return model.predict, regression.coef_.size + 1

    return by_words(data, fitted)


def by_words(data: Path, fitted: Callable[[Labelled], tuple[Predict, int]]) -> dict[str, Any]:
    """Return what classifiers without chance in them come to: one accuracy, not one a seed. Learned parameters are
    those of the task that has the most."""
    found, parameters = {}, []
    for folder in sorted((data / TASKS).iterdir()):
        splits = open_splits(folder)
        texts = {str(split): (list(rows["text"]), list(rows["label"])) for split, rows in splits.items()}
        predict, count = fitted(texts)
        right = {
            split: float(np.mean(np.array(predict(texts[split][0])) == texts[split][1]))
            for split in ("validation", "test")
        }
        found[folder.name] = outcome([right["test"]], right["validation"])
        parameters.append(count)
    return {"parameters": max(parameters), "downstream": {"tasks": found, **over_tasks(found)}}


def from_scratch(
    data: Path,
    settings: FamilyBaselines,
    compute: Compute,
    done: Path,
    name: str,
    network: Callable[..., Convolutions | Recurrent],
) -> dict[str, Any]:
    """Return what the search that the systems have too comes to, for a network that begins with random weights; `name`
    is the key of its sizes."""
    tokenizer = AutoTokenizer.from_pretrained(data / settings.text / "tokenizer")
    tasks = tasks_in(data / TASKS, tokenizer, settings.context)
    own = getattr(settings, name).model_dump()
    dropout = own.pop("dropout")
    sought = settings.finetune

    def fresh(seed: int) -> Classifier:
        torch.manual_seed(seed)
        made = network(len(tokenizer), tokenizer.pad_token_id, **own)
        return Classifier(made, _called, made.width, dropout)

    def fitted(task: Task, learning_rate: float, seed: int) -> Classifier:
        classifier = fresh(seed)
        training = of_search(settings, settings.precision, learning_rate)
        fine_tune(classifier, task, training, seed, compute, engine.Overrides(compiled=False))
        return classifier

    found = search(
        tasks,
        fitted,
        learning_rates=sought.learning_rates,
        seeds=sought.seeds,
        precision=settings.precision,
        done=done / name,
    )
    return {"parameters": sum(weights.numel() for weights in fresh(0).parameters()), "downstream": found}


def _called(network: nn.Module, tokens_BT: Tensor) -> Tensor:
    """Return what the network makes of the tokens."""
    return network(tokens_BT)
