"""Fine-tuning by the search that all share: a pretrained system, and the same network from scratch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from jokbo.comparison.search import Classifier, Task, frozen, search
from jokbo.comparison.system import Features, OpenedSystem
from jokbo.comparison.training_settings import fine_tune, of_search
from jokbo.models.heads import by_length
from jokbo.runtime.errors import InputError
from jokbo.systems.protocol import Gradual
from jokbo.training import engine, processes
from jokbo.training.job import Job

Read = Callable[[Tensor], Tensor]  # texts as tokens [N, T] -> a vector of each, [N, D]
Results = dict[str, dict[str, Any]]  # by start; see search.py


class Start(NamedTuple):
    """A pretrained network, and what a regression reads of it, remembered for texts that are asked again."""

    network: nn.Module
    read: Read


def downstream(
    job: Job,
    system: OpenedSystem,
    tasks: list[Task],
    start: Start,
    steps: int,
    known: Mapping[str, Any] | None = None,
) -> Results:
    """Return what the search finds, in trainings of so many steps, by what they start from:

    pretrained   the pretrained network: as its paper fine-tunes it, or read as it is by a regression (frozen)
    scratch      the same network with random weights, trained end to end
    random       where the pretrained one is frozen: the network with random weights, frozen too

    `known` is the result from scratch where another system has it, as its network is the same.
    """
    fresh = partial(system.fresh, begins=False)
    found: Results = {}
    if system.own.finetune == "frozen":
        untrained = fresh(system.settings.finetune.seeds[0])
        found["pretrained"] = frozen(tasks, start.read)
        found["random"] = frozen(tasks, partial(vectors, system, untrained))
    else:
        begin = Begin(lambda seed: copy.deepcopy(start.network), system.own.finetune)
        found["pretrained"] = searched(job.part("pretrained"), system, tasks, steps, begin)
    found["scratch"] = (
        dict(known) if known else searched(job.part("scratch"), system, tasks, steps, Begin(fresh))
    )
    return found


def vectors(system: OpenedSystem, network: nn.Module, tokens_NT: Tensor, rows: int = 128) -> Tensor:
    """Return the features [N, D] of texts, from the network as it is."""
    network.to(processes.device()).eval()

    def read(tokens_BT: Tensor) -> Tensor:
        with processes.autocast(system.own.precision):
            return system.features(network, tokens_BT.to(processes.device())).float()

    return by_length(read, tokens_NT, system.special_tokens.padding, rows)


@dataclass(frozen=True)
class Begin:
    """What fine-tuning begins with."""

    begun: Callable[[int], nn.Module]  # the network of a seed
    how: str = "whole"  # or "gradual"
    features: Features | None = None  # what is read instead of the system's own


def searched(
    job: Job,
    system: OpenedSystem,
    tasks: list[Task],
    steps: int,
    start: Begin,
) -> dict[str, Any]:
    """Return what the search finds for the networks that it begins with. It goes on with what it left in the job's
    folder.
    """
    sought, own = system.settings.finetune, system.own
    read = start.features or system.features

    def fitted(task: Task, learning_rate: float, seed: int) -> Classifier:
        network = start.begun(seed)
        torch.manual_seed(seed)
        network.eval()
        with torch.no_grad():
            some_BT = task.tokens["validation"][:2].to(next(network.parameters()).device)
            hidden_size = read(network, some_BT).shape[1]
        classifier = Classifier(network, read, hidden_size)
        its = (None, None)
        if start.how == "gradual":
            its = cast(Gradual, system.module).gradual(network, classifier.head, learning_rate, steps)
        training = of_search(system.settings, own.precision, learning_rate, steps)
        fine_tune(classifier, task, training, seed, job.compute, engine.Overrides(*its, compiled=False))
        return classifier

    return search(
        tasks,
        fitted,
        learning_rates=sought.learning_rates,
        seeds=sought.seeds,
        precision=own.precision,
        done=job.folder,
    )


def check_same(system: OpenedSystem, other: OpenedSystem) -> None:
    """Raise InputError unless the networks of two systems, and what is read of them, are the same from scratch."""
    seed = system.settings.finetune.seeds[0]
    ours, theirs = (each.fresh(seed, begins=False).state_dict() for each in (system, other))
    same_text = (system.own.text, system.own.context) == (other.own.text, other.own.context)
    same_weights = ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    if not (same_text and same_weights and system.module.features is other.module.features):
        raise InputError(
            f"family.systems: {system.own.module} names {system.own.scratch} for its results from scratch, which is "
            "another network or reads another text: remove `scratch`"
        )
