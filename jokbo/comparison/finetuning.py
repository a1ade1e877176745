"""Fine-tuning by the search that all share: a pretrained system, and the same network from scratch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from jokbo.comparison.member import Member
from jokbo.comparison.recipe import fine_tune, of_search
from jokbo.comparison.search import Classifier, Task, frozen, search
from jokbo.models.heads import by_length
from jokbo.systems.protocol import Gradual
from jokbo.training import engine, processes
from jokbo.training.job import Job

Read = Callable[[Tensor], Tensor]  # texts as tokens [N, T] -> a vector of each, [N, D]


def downstream(job: Job, member: Member, tasks: list[Task], network: nn.Module, read: Read) -> dict[str, Any]:
    """Return what the search finds for the pretrained network, of which `read` gives the features, and from scratch."""
    fresh = partial(member.fresh, begins=False)
    if member.own.finetune == "frozen":
        first = fresh(member.settings.finetune.seeds[0])
        reads = {"pretrained": read, "scratch": partial(vectors, member, first)}
        return {start: frozen(tasks, each) for start, each in reads.items()}
    starts = {"pretrained": lambda seed: copy.deepcopy(network), "scratch": fresh}
    return {start: _searched(job.part(start), member, tasks, begun) for start, begun in starts.items()}


def vectors(member: Member, network: nn.Module, tokens_NT: Tensor, rows: int = 128) -> Tensor:
    """Return the features [N, D] of texts, from the network as it is."""
    network.to(processes.device()).eval()

    def read(tokens_BT: Tensor) -> Tensor:
        with processes.autocast(member.own.precision):
            return member.features(network, tokens_BT.to(processes.device())).float()

    return by_length(read, tokens_NT, member.special_tokens.padding, rows)


def _searched(
    job: Job, member: Member, tasks: list[Task], begun: Callable[[int], nn.Module]
) -> dict[str, Any]:
    """What the search finds for networks that `begun(seed)` gives; it goes on with what it left in the job's folder."""
    sought, own = member.settings.finetune, member.own

    def fitted(task: Task, learning_rate: float, seed: int) -> Classifier:
        network = begun(seed)
        torch.manual_seed(seed)
        width = vectors(member, network, task.tokens["validation"][:2]).shape[1]
        classifier = Classifier(network, member.features, width)
        its = (None, None)
        if own.finetune == "gradual":
            its = cast(Gradual, member.module).gradual(network, classifier.head, learning_rate, sought.steps)
        training = of_search(member.settings, own.precision, learning_rate)
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
