"""What only some papers ask for: one unit, checkpoints along the way, a training without a warm-up."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from jokbo.comparison.finetuning import Read
from jokbo.comparison.member import Member
from jokbo.comparison.pretraining import held_out, revisions, schedule_of, trained
from jokbo.comparison.search import Task
from jokbo.systems.protocol import OneNeuron
from jokbo.training import engine
from jokbo.training.job import Job

PROBE = 0.25  # of the steps: the trainings with and without a warm-up


def extras(
    job: Job, member: Member, tasks: list[Task], network: nn.Module, read: Read, steps: int
) -> dict[str, Any]:
    """Return what the system is asked beyond the others. `read` gives the pretrained network's features of texts, and
    `steps` are those of its pretraining."""
    own, found = member.own, {}
    if own.neuron:
        found["unit"] = {task.name: best_unit(cast(OneNeuron, member.module), read, task) for task in tasks}
    if own.revisions:
        found["revisions"] = revision_losses(job, member, cast(type[PreTrainedModel], type(network)))
    if own.schedule == "noam":
        found |= warmups(job, member, max(1, round(PROBE * steps)))
    return found


def best_unit(module: OneNeuron, read: Read, task: Task) -> dict[str, float]:
    """Return the one unit that tells the labels of training texts best, and how well it tells those of test texts."""
    features = {split: read(task.tokens[split]).numpy() for split in ("train", "test")}
    unit = module.best_neuron(features["train"], task.labels["train"].numpy())
    return {"index": unit.index, "accuracy": unit.accuracy(features["test"], task.labels["test"].numpy())}


def revision_losses(job: Job, member: Member, kind: type[PreTrainedModel]) -> dict[str, float]:
    """Return the held-out nats of each kept checkpoint, by step."""
    found = {}
    for folder in sorted(revisions(job).iterdir()):
        network = kind.from_pretrained(folder, dtype=torch.float32)
        objective = member.module.Objective(network, member.special_tokens)
        found[str(int(folder.name.removeprefix("step-")))] = held_out(member, objective)
    return found


def warmups(job: Job, member: Member, steps: int) -> dict[str, dict[str, float]]:
    """Return the held-out nats of two short trainings, with and without a warm-up: with Adam, of which the claim is."""
    found = {}
    for key, warms_up in (("with_warmup", True), ("without_warmup", False)):
        objective = member.module.Objective(member.fresh(member.settings.seed), member.special_tokens)
        training = member.training(steps, adam=True)
        own = engine.Overrides(schedule=schedule_of(member, training, warms_up=warms_up), compiled=False)
        trained(job.part(key), member, objective, training, own)
        found[key] = {"nats": held_out(member, objective)}
    return found
