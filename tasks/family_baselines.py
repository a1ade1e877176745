"""What the family's systems are compared with: rules, tf-idf, and two networks without pretraining.

`python -m tasks.family_baselines`
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import load_from_disk
from torch import nn
from transformers import AutoTokenizer

from jokbo.comparison.from_scratch import Convolutions, Recurrent
from jokbo.comparison.search import Classifier, Task, outcome, over_tasks, search, tasks_in
from jokbo.evaluation import baselines
from jokbo.runtime.files import read_json
from jokbo.training import engine
from tasks.frame.paths import FAMILY_DATA, LEXICON, TASKS
from tasks.frame.records import write_metrics
from tasks.frame.stage import Stage, run_stage
from tasks.recipe import fine_tune, of_search

if TYPE_CHECKING:
    from jokbo import params

Labelled = Mapping[str, tuple[list[str], list[int]]]  # texts and labels, by split
Predict = Callable[[list[str]], Sequence[int]]


def family_baselines(stage: Stage) -> None:
    metrics = {}
    for name, title, year, measured in (
        ("rules", "Rules over a list of words", 2014, with_rules),
        ("tfidf", "tf-idf, logistic regression", 1972, with_tfidf),
        ("cnn", "CNN", 2014, partial(from_scratch, name="cnn", network=Convolutions)),
        ("lstm", "LSTM, both directions", 2005, partial(from_scratch, name="lstm", network=Recurrent)),
    ):
        start = time.monotonic()
        found = measured(stage)
        seconds = time.monotonic() - start
        metrics[name] = {"title": title, "year": year, **found, "seconds": seconds}
    write_metrics(stage, metrics)


def with_rules(stage: Stage) -> dict[str, Any]:
    """VADER's lexicon and negation; nothing is learned but which label is the more frequent."""
    lexicon = read_json(FAMILY_DATA / LEXICON)

    def fitted(texts: Labelled) -> tuple[Predict, int]:
        majority = int(np.mean(texts["train"][1]) >= 0.5)
        return partial(baselines.by_rules, lexicon, majority=majority), 0

    return by_words(fitted)


def with_tfidf(stage: Stage) -> dict[str, Any]:
    def fitted(texts: Labelled) -> tuple[Predict, int]:
        model = baselines.tfidf(*texts["train"], *texts["validation"])
        return model.predict, model[-1].coef_.size + 1

    return by_words(fitted)


def by_words(fitted: Callable[[Labelled], tuple[Predict, int]]) -> dict[str, Any]:
    """What classifiers without chance in them come to: one accuracy, not one a seed. Learned parameters are those of
    the task that has the most."""
    found, parameters = {}, []
    for folder in sorted((FAMILY_DATA / TASKS).iterdir()):
        splits = load_from_disk(folder)
        texts = {split: (list(rows["text"]), list(rows["label"])) for split, rows in splits.items()}
        predict, count = fitted(texts)
        right = {
            split: float(np.mean(np.array(predict(texts[split][0])) == texts[split][1]))
            for split in ("validation", "test")
        }
        found[folder.name] = outcome([right["test"]], right["validation"])
        parameters.append(count)
    return {"parameters": max(parameters), "downstream": {"tasks": found, **over_tasks(found)}}


def from_scratch(stage: Stage, *, name: str, network: Callable[..., nn.Module]) -> dict[str, Any]:
    """What the search that the systems have too comes to, for a network that begins with random weights."""
    settings: params.FamilyBaselines = stage.params
    tokenizer = AutoTokenizer.from_pretrained(FAMILY_DATA / settings.text / "tokenizer")
    tasks = tasks_in(FAMILY_DATA / TASKS, tokenizer, settings.context)
    own = getattr(settings, name).model_dump()
    dropout = own.pop("dropout")
    sought = settings.finetune

    def fresh(seed: int) -> Classifier:
        torch.manual_seed(seed)
        made = network(len(tokenizer), tokenizer.pad_token_id, **own)
        return Classifier(made, operator.call, made.width, dropout)

    def fitted(task: Task, learning_rate: float, seed: int) -> Classifier:
        classifier = fresh(seed)
        training = of_search(stage, settings.precision, learning_rate)
        fine_tune(stage, classifier, task, training, seed, engine.Own(compiled=False))
        return classifier

    found = search(
        tasks,
        fitted,
        learning_rates=sought.learning_rates,
        seeds=sought.seeds,
        precision=settings.precision,
        done=stage.checkpoints / name,
    )
    return {"parameters": sum(weights.numel() for weights in fresh(0).parameters()), "downstream": found}


if __name__ == "__main__":
    run_stage("family_baselines", family_baselines, parallel=True)
