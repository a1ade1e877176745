"""Fine-tuning for classes, and one search for all: the same rates, seeds and steps whatever the network.

For each task the learning rate is chosen on validation texts, with the first seed; the other seeds are run with it.
Test texts have no say in it.

A result is {"tasks": {NAME: {"accuracies", "mean", "sd", "validation", "learning_rate", "right"}}, "mean", "sd"}:
accuracies on test texts by seed; `right` is a string with a digit a test text, how many seeds were right about it; the
last two are of the mean over tasks, over seeds.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from jokbo.data.corpus.batches import dealt_by_length
from jokbo.data.tables import open_splits
from jokbo.models import access
from jokbo.models.heads import Head, by_length, last_tokens, trimmed
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_if_there, read_json, write_text
from jokbo.training.processes import any_rank, autocast, device, rank

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from jokbo.training.engine import Batch

SPLITS = ("train", "validation", "test")
STRENGTHS = (0.01, 0.1, 1.0)  # of the regularisation, inverse


@dataclass(frozen=True)
class Task:
    """Texts as rows of tokens [N, T], padded on the right, and their labels [N], each by split."""

    name: str
    tokens: Mapping[str, Tensor]
    labels: Mapping[str, Tensor]
    padding: int

    def first(self, count: int | Literal["all"]) -> Task:
        """Return the task with its first so many training texts. Raises InputError if it has fewer."""
        if count == "all":
            return self
        if len(self.labels["train"]) < count:
            raise InputError(
                f"finetune.labels has a count of {count}: {self.name} has {len(self.labels['train'])} training texts: "
                "lower it, or say all"
            )
        # other splits stay the very tensors that they are: what was read of them is known by that
        tokens, labels = ({**part, "train": part["train"][:count]} for part in (self.tokens, self.labels))
        return replace(self, tokens=tokens, labels=labels)


class Classifier(nn.Module):
    """A linear layer over a vector for each text. The loss is its cross-entropy."""

    def __init__(
        self,
        network: nn.Module,
        features: Callable[[nn.Module, Tensor], Tensor],
        hidden_size: int,
        dropout: float = 0.1,
    ) -> None:
        """Take the network, and `features(network, tokens_BT)`, which gives vectors [B, D].

        The layer's weights are drawn here.
        """
        super().__init__()
        self.network = network
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.head = Head(hidden_size, 2)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def logits(self, tokens_BT: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(self.network, tokens_BT))).float()

    def forward(self, tokens_BT: Tensor, labels_B: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits_BC = self.logits(tokens_BT)
        accuracy = (logits_BC.argmax(-1) == labels_B).float().mean()
        return nn.functional.cross_entropy(logits_BC, labels_B), {"accuracy": accuracy}


def tasks_in(folder: Path, tokenizer: PreTrainedTokenizerBase, length: int) -> list[Task]:
    """Return the tasks that are saved in a folder, a DatasetDict of columns text and label each: their first tokens."""
    found, padding = [], access.padding(tokenizer)
    for path in sorted(folder.iterdir()):
        tokens, labels = {}, {}
        for split, rows in open_splits(path).items():
            encoded = tokenizer(
                list(rows["text"]), add_special_tokens=False, truncation=True, max_length=length
            )["input_ids"]
            tokens[split] = torch.full((len(encoded), length), padding)
            for row, ids in zip(tokens[split], encoded, strict=True):
                row[: len(ids)] = torch.tensor(ids)
            labels[split] = torch.tensor(list(rows["label"]))
        found.append(Task(path.name, tokens, labels, padding))
    return found


def batches(task: Task, rows: int, seed: int) -> Callable[[int], Batch]:
    """Return the batch of each step: shuffled training texts of like length, gone through again and again."""
    samples_at = dealt_by_length(
        last_tokens(task.tokens["train"], task.padding).numpy(), rows, seed, task.name
    )

    def batch_at(step: int) -> Batch:
        chosen_B = torch.from_numpy(samples_at(step))
        tokens_BT = trimmed(task.tokens["train"][chosen_B], task.padding)
        return {"tokens_BT": tokens_BT, "labels_B": task.labels["train"][chosen_B]}

    return batch_at


def right(classifier: Classifier, task: Task, split: str, precision: str, rows: int = 256) -> Tensor:
    """Return whether each of a split's texts gets its label, [N]."""
    classifier.eval()

    def read(tokens_BT: Tensor) -> Tensor:
        with autocast(precision):
            return classifier.logits(tokens_BT.to(device()))

    logits_NC = by_length(read, task.tokens[split], task.padding, rows)
    return logits_NC.argmax(-1) == task.labels[split]


def search(
    tasks: list[Task],
    fitted: Callable[[Task, float, int], Classifier],
    *,
    learning_rates: list[float],
    seeds: list[int],
    precision: str,
    done: Path,
) -> dict[str, Any]:
    """Return the result of `fitted(task, learning_rate, seed)`, a classifier that has been trained, on each task.

    Each training's figures are kept in the folder `done`, and found there by a run that goes on.
    """
    found: dict[str, Any] = {}
    for task in tasks:

        def measured(rate: float, seed: int, above: float = -1.0, task: Task = task) -> dict[str, Any]:
            """Return the figures of a training: on test texts only if it is better on validation than `above`."""
            path = done / f"{task.name}-{rate:g}-{seed}.json"
            figures: Any = read_if_there(path)
            if any_rank(figures is None):
                classifier = fitted(task, rate, seed)
                figures = {"validation": share(right(classifier, task, "validation", precision))}
                if figures["validation"] > above:
                    figures["right"] = counted(right(classifier, task, "test", precision)[None])
                if rank() == 0:  # all ranks come to the same figures
                    write_text(path, json.dumps(figures))
            return figures

        best, best_rate, first = -1.0, learning_rates[0], {}
        for rate in learning_rates:
            figures = measured(rate, seeds[0], best)
            if figures["validation"] > best:
                best, best_rate, first = figures["validation"], rate, figures
        runs = [first, *(measured(best_rate, seed) for seed in seeds[1:])]
        right_SN = np.array([[*map(int, run["right"])] for run in runs])
        found[task.name] = outcome(right_SN, best, best_rate)
    return {"tasks": found, **over_tasks(found)}


def frozen(tasks: list[Task], vectors: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Return the same for a network that stays as it is:

    `vectors(tokens_NT)` gives features, which a logistic regression with an L1 penalty reads (Radford et al. 2017,
    section 3), each divided by its deviation. The strength is chosen on validation texts; there is no chance in it, so
    it is one accuracy, not one a seed.
    """
    found: dict[str, Any] = {}
    for task in tasks:
        read = {split: vectors(task.tokens[split]).numpy() for split in SPLITS}
        best, chosen = -1.0, np.empty(0)
        for strength in STRENGTHS:
            regression = make_pipeline(
                StandardScaler(),
                LogisticRegression(l1_ratio=1, C=strength, solver="liblinear", random_state=0),
            )
            regression.fit(read["train"], task.labels["train"].numpy())
            validation = float(regression.score(read["validation"], task.labels["validation"].numpy()))
            if validation > best:
                best, chosen = validation, regression.predict(read["test"]) == task.labels["test"].numpy()
        found[task.name] = outcome(chosen[None], best)
    return {"tasks": found, **over_tasks(found)}


def outcome(right_SN: np.ndarray, validation: float, learning_rate: float | None = None) -> dict[str, Any]:
    """Return what came of one task: of whether each seed (one, where there is no chance) is right about each test text,
    and of what was chosen."""
    accuracies = right_SN.mean(axis=1).tolist()
    chosen = {"validation": validation, "learning_rate": learning_rate}
    return {"accuracies": accuracies, **spread(accuracies), **chosen, "right": counted(right_SN)}


def parted(tree: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return results without what came of each text, for people to read; and that alone, for sums over texts."""
    numbers: dict[str, Any] = {}
    texts: dict[str, Any] = {}
    for key, value in tree.items():
        if key == "right":
            texts[key] = value
        elif isinstance(value, dict):
            numbers[key], inner = parted(value)
            if inner:
                texts[key] = inner
        else:
            numbers[key] = value
    return numbers, texts


def together(numbers: dict[str, Any], texts: dict[str, Any]) -> dict[str, Any]:
    """Return what `parted` took apart."""
    inner = {
        key: together(numbers[key], value) if isinstance(value, dict) else value
        for key, value in texts.items()
    }
    return {**numbers, **inner}


def kept(numbers: Path, texts: Path, remedy: str) -> dict[str, Any]:
    """Return the results that `parted` took apart, from their two files. Raises InputError as read_json does."""
    return together(read_json(numbers, remedy), read_json(texts, remedy))


def share(right_N: Tensor) -> float:
    """Return the share of texts that are right, by a division that all machines do alike."""
    return int(right_N.sum()) / len(right_N)


def counted(right_SN: np.ndarray | Tensor) -> str:
    """Return a digit a text: how many of at most nine seeds are right about it."""
    return "".join(map(str, right_SN.sum(0).tolist()))


def over_tasks(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean and standard deviation over seeds of the mean over tasks."""
    by_seed = zip(*(figures["accuracies"] for figures in found.values()), strict=True)
    return spread([statistics.fmean(parts) for parts in by_seed])


def spread(values: list[float]) -> dict[str, float]:
    """Return the mean and standard deviation (of a sample; 0 of a single value)."""
    return {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
    }
