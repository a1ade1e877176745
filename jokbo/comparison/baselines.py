"""What the systems are compared with: rules over a list of words, counts of words, and networks without pretraining.

Counts are asked twice: of as much of each text as the networks read, and of whole texts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from jokbo.comparison.from_scratch import Convolutions, Recurrent
from jokbo.comparison.search import Classifier, Task, outcome, over_tasks, search, tasks_in
from jokbo.comparison.texts import LEXICON, TASKS
from jokbo.comparison.training_settings import fine_tune, of_search
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
    whole = texts_in(data, settings.finetune.labels[0].count)
    tokenizer = AutoTokenizer.from_pretrained(data / settings.text / "tokenizer")
    read = {task: as_read(texts, tokenizer, settings.context) for task, texts in whole.items()}
    tokens, all_of_it = f"on the first {settings.context} tokens", "on whole texts"
    metrics = {}
    for name, title, year, of_it in (
        ("rules", f"Rules over a list of words, {all_of_it}", 2014, partial(with_rules, data, whole)),
        ("naive_bayes", f"Naive Bayes, {tokens}", 1961, partial(by_words, read, naive_bayes)),
        ("naive_bayes_whole", f"Naive Bayes, {all_of_it}", 1961, partial(by_words, whole, naive_bayes)),
        ("tfidf", f"tf-idf, {tokens}", 1972, partial(by_words, read, tfidf)),
        ("tfidf_whole", f"tf-idf, {all_of_it}", 1972, partial(by_words, whole, tfidf)),
        ("cnn", "CNN", 2014, partial(trained, "cnn", Convolutions)),
        ("lstm", "LSTM, both directions", 2005, partial(trained, "lstm", Recurrent)),
    ):
        start = time.monotonic()
        found = of_it()
        metrics[name] = {"title": title, "year": year, **found, "seconds": time.monotonic() - start}
    return metrics


def texts_in(data: Path, count: int | Literal["all"]) -> dict[str, Labelled]:
    """Return the texts and labels of each task: of training texts the first so many."""
    found = {}
    for folder in sorted((data / TASKS).iterdir()):
        splits = {str(split): rows for split, rows in open_splits(folder).items()}
        found[folder.name] = {
            split: (list(rows["text"]), list(rows["label"])) for split, rows in splits.items()
        }
        if count != "all":
            texts, labels = found[folder.name]["train"]
            found[folder.name]["train"] = texts[:count], labels[:count]
    return found


def as_read(texts: Labelled, tokenizer: PreTrainedTokenizerBase, length: int) -> Labelled:
    """Return the beginning of each text that has so many tokens, all that a network reads of it."""
    return {
        split: ([cut(text, tokenizer, length) for text in some], labels)
        for split, (some, labels) in texts.items()
    }


def cut(text: str, tokenizer: PreTrainedTokenizerBase, length: int) -> str:
    """Return the beginning of a text that has so many tokens."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return text[: offsets[min(length, len(offsets)) - 1][1]] if offsets else text


def with_rules(data: Path, texts: Mapping[str, Labelled]) -> dict[str, Any]:
    """Return the accuracies of VADER's lexicon and negation, which learn only which label is the more frequent."""
    lexicon = read_json(data / LEXICON)

    def fitted(texts: Labelled) -> tuple[Predict, int]:
        majority = int(np.mean(texts["train"][1]) >= 0.5)
        return partial(baselines.by_rules, lexicon, majority=majority), 0

    return by_words(texts, fitted)


def tfidf(texts: Labelled) -> tuple[Predict, int]:
    """Return a logistic regression on tf-idf, and how many numbers it has learned."""
    model = baselines.tfidf(*texts["train"], *texts["validation"])
    regression = model[-1]
    assert isinstance(regression, LogisticRegression)
    return model.predict, regression.coef_.size + 1


def naive_bayes(texts: Labelled) -> tuple[Predict, int]:
    """Return naive Bayes on words and pairs of words, and how many numbers it has learned."""
    model = baselines.naive_bayes(*texts["train"])
    bayes = model[-1]
    assert isinstance(bayes, MultinomialNB)
    return model.predict, bayes.feature_log_prob_.size + bayes.class_log_prior_.size


def by_words(
    texts: Mapping[str, Labelled], fitted: Callable[[Labelled], tuple[Predict, int]]
) -> dict[str, Any]:
    """Return what classifiers without chance in them come to: one accuracy, not one a seed. Learned parameters are
    those of the task that has the most."""
    found, parameters = {}, []
    for task, splits in texts.items():
        predict, count = fitted(splits)
        right = {
            split: np.array(predict(splits[split][0])) == splits[split][1] for split in ("validation", "test")
        }
        found[task] = outcome(right["test"][None], float(right["validation"].mean()))
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
    sought, labels = settings.finetune, settings.finetune.labels[0]
    tasks = [task.first(labels.count) for task in tasks_in(data / TASKS, tokenizer, settings.context)]
    own = getattr(settings, name).model_dump()
    dropout = own.pop("dropout")

    def fresh(seed: int) -> Classifier:
        torch.manual_seed(seed)
        made = network(len(tokenizer), tokenizer.pad_token_id, **own)
        return Classifier(made, _called, made.hidden_size, dropout)

    def fitted(task: Task, learning_rate: float, seed: int) -> Classifier:
        classifier = fresh(seed)
        training = of_search(settings, settings.precision, learning_rate, labels.steps)
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
