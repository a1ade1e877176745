"""The trainings of a labelled task: at each learning rate, of which the best on validation stays; and on fewer labels.

The pretrained network and the same one from random weights go through the same search, each for itself.
"""

from __future__ import annotations

import copy
import json
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from jokbo import params
from jokbo.evaluation.baselines import naive_bayes
from jokbo.finetuning.tasks.classifier import Classify, logits
from jokbo.finetuning.tasks.kind import Kind
from jokbo.finetuning.tasks.labelled import Labelled
from jokbo.finetuning.tasks.results import CurvePoint, CurveValue
from jokbo.models import access, heads
from jokbo.runtime.files import read_if_there, write_text
from jokbo.runtime.tracking import Run
from jokbo.training import engine, memory
from jokbo.training.processes import any_rank, rank

if TYPE_CHECKING:
    from jokbo.params.chain import LabelledTask
    from jokbo.training.job import Job
    from jokbo.training.loop import Row

NAIVE_BAYES = "naive_bayes"


@dataclass(frozen=True)
class Start:
    """What trainings begin with."""

    network: Callable[[int], PreTrainedModel]  # a seed -> the language model of which a training takes a copy
    fresh: bool = False  # its weights are random: all of them must learn, whatever the method


@dataclass(frozen=True)
class Task:
    """A labelled task, and how it is trained."""

    kind: Kind
    data: Labelled
    settings: LabelledTask


@dataclass(frozen=True)
class Tuned:
    """A network that was trained on a task."""

    network: PreTrainedModel
    rate: float
    history: list[Row]
    validation: float  # accuracy


def searched(job: Job, task: Task, start: Start) -> Tuned:
    """Return the training whose learning rate is best on the validation rows; of equals the first.

    Raises InputError before any of them if there is not the memory for one.
    """
    rates = task.settings.rates
    memory.check(_objective(job, task, start), _batches(job, task)(), _settings(task, rates[0], start), job)
    best: Tuned | None = None
    for rate in rates:
        found = trained(job.part(f"{job.name}-{rate:g}") if len(rates) > 1 else job, task, rate, start)
        if best is None or found.validation > best.validation:
            best = found
    assert best is not None  # the schema asks for one rate at least
    return best


def trained(job: Job, task: Task, rate: float, start: Start) -> Tuned:
    """Return the network that the job's seed begins with, and a fresh last layer, trained at one learning rate."""
    objective, batches = _objective(job, task, start), _batches(job, task)
    validation = engine.Overrides(validation=lambda: batches("validation"))
    history = engine.train(objective, batches(), _settings(task, rate, start), job, validation)
    network = objective.network
    return Tuned(network, rate, history, _accuracy(network, task, "validation"))


def _objective(job: Job, task: Task, start: Start) -> Classify:
    begins = start.network(job.seed)
    network = heads.on_each(begins, labels=task.kind.outputs(task.data.classes), seed=job.seed)
    head = copy.deepcopy(access.untied_head(begins))
    return Classify(network, task.kind, task.settings.language_model_weight, head)


def _batches(job: Job, task: Task) -> Callable[..., Callable[[int], engine.Batch]]:
    """Return what gives the batches of a split, train if none is named."""
    return partial(task.data.batches, task.settings.training.batch_size, job.seed)


def _settings(task: Task, rate: float, start: Start) -> params.Training:
    own = task.settings.training
    settings = params.Training(
        optimizer=params.Optimizer(
            name="adamw",
            learning_rate=rate,
            adam_learning_rate=rate,
            betas=own.betas,
            weight_decay=own.weight_decay,
        ),
        **own.model_dump(exclude={"betas", "weight_decay"}),
    )
    return settings.model_copy(update={"method": params.FULL}) if start.fresh else settings


def predicted(network: PreTrainedModel, task: Task, split: str) -> list[int]:
    """Return the class of each row of a split, by its place in the task's classes."""
    return logits(network, task.kind, task.data.tokens[split]).argmax(-1).tolist()


def curve(job: Job, task: Task, starts: Mapping[str, Start]) -> list[CurvePoint]:
    """Return accuracies on test rows by the number of training rows, over seeds: of the networks that begin with each
    of the starts, and of naive Bayes if the task is classification.

    For each number of rows the learning rate is chosen on validation rows, with the first seed. Each training's figures
    are kept in the job's folder, and found there by a run that goes on.
    """
    asked = task.settings.curve
    if asked is None:
        return []
    there, points = len(task.data.rows["train"]), []
    for labels in asked.labels:
        count = there if labels == "all" else labels
        # all of them in the order of the data set, as the model that is kept has them
        parts = {
            seed: task if count == there else replace(task, data=task.data.first(count, seed))
            for seed in range(job.seed, job.seed + asked.seeds)
        }
        named = {name: job.part(f"{job.name}-{name}-{count}") for name in starts}
        found = {name: _over_seeds(named[name], parts, start) for name, start in starts.items()}
        if task.settings.kind == "classification":
            said = [_share(bayes(part.data, ["test"]), part, "test") for part in parts.values()]
            found[NAIVE_BAYES] = _value(said)
        points.append(CurvePoint(count, found))
    return points


def _over_seeds(job: Job, parts: Mapping[int, Task], start: Start) -> CurveValue:
    """Return the accuracy over seeds, each with its part of the rows, at the rate that is best with the first seed."""

    def measured(rate: float, seed: int) -> dict[str, float]:
        own = replace(job.part(f"{job.name}-{rate:g}-{seed}"), seed=seed)
        return _kept(own, parts[seed], rate, start)

    first = next(iter(parts))
    by_rate = {rate: measured(rate, first)["validation"] for rate in parts[first].settings.rates}
    best = max(by_rate, key=by_rate.__getitem__)
    return _value([measured(best, seed)["test"] for seed in parts], best)


def _kept(job: Job, task: Task, rate: float, start: Start) -> dict[str, float]:
    """Return the accuracies of a training, from the file that it left if it was there before.

    Its checkpoints go when that file is there, as there may be many trainings; MLflow is not told of its steps.
    """
    path = job.folder.parent / f"{job.folder.name}.json"
    figures: Any = read_if_there(path)
    if any_rank(figures is None):
        network = trained(replace(job, run=Run()), task, rate, start).network
        figures = {split: _accuracy(network, task, split) for split in ("validation", "test")}
        if rank() == 0:  # all ranks come to the same figures
            write_text(path, json.dumps(figures))
            shutil.rmtree(job.folder, ignore_errors=True)
    return figures


def _accuracy(network: PreTrainedModel, task: Task, split: str) -> float:
    return _share({split: predicted(network, task, split)}, task, split)


def bayes(data: Labelled, splits: Sequence[str]) -> dict[str, list[int]]:
    """Return by split the class of each text by naive Bayes."""
    model = naive_bayes(data.texts("train"), data.labels["train"].tolist())
    return {split: model.predict(data.texts(split)).tolist() for split in splits}


def _share(said: Mapping[str, list[int]], task: Task, split: str) -> float:
    """Return the share of a split's rows that are right, by a division that all machines do alike."""
    right_N = torch.tensor(said[split]) == task.data.labels[split]
    return int(right_N.sum()) / len(right_N)


def _value(accuracies: Sequence[float], rate: float | None = None) -> CurveValue:
    error = statistics.stdev(accuracies) / len(accuracies) ** 0.5
    return CurveValue(statistics.fmean(accuracies), error, rate)
