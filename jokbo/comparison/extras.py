"""What only some papers ask for: one neuron, checkpoints along the way, a training without a warm-up."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from jokbo.comparison.finetuning import Begin, Read, Start, searched
from jokbo.comparison.pretraining import held_out, revisions, schedule_of, trained
from jokbo.comparison.search import Task, counted
from jokbo.comparison.system import OpenedSystem
from jokbo.systems.protocol import OneNeuron
from jokbo.training import engine
from jokbo.training.job import Job

PROBE = 0.25  # of the steps: the trainings with and without a warm-up


def extras(job: Job, system: OpenedSystem, tasks: list[Task], start: Start, steps: int) -> dict[str, Any]:
    """Return what the system is asked beyond the others; `steps` are those of its pretraining."""
    own, found = system.own, {}
    if own.neuron:
        found["neuron"] = {
            task.name: best_neuron(cast(OneNeuron, system.module), start.read, task) for task in tasks
        }
    if own.last:
        found["last"] = read_at_end(job.part("last"), system, tasks, start)
    if own.revisions:
        found["revisions"] = revision_losses(job, system, cast(type[PreTrainedModel], type(start.network)))
    if own.schedule == "noam":
        found |= warmups(job, system, max(1, round(PROBE * steps)))
    return found


def best_neuron(module: OneNeuron, read: Read, task: Task) -> dict[str, Any]:
    """Return the one neuron that tells the labels of training texts best, and how well it tells those of test texts."""
    features = {split: read(task.tokens[split]).numpy() for split in ("train", "test")}
    neuron = module.best_neuron(features["train"], task.labels["train"].numpy())
    right_N = neuron.right(features["test"], task.labels["test"].numpy())
    return {"index": neuron.index, "accuracy": float(right_N.mean()), "right": counted(right_N[None])}


def read_at_end(job: Job, system: OpenedSystem, tasks: list[Task], start: Start) -> dict[str, Any]:
    """Return what the search finds for the network read at a text's end, pretrained and from scratch."""
    steps = system.settings.finetune.labels[0].steps
    begun = {
        "pretrained": lambda seed: copy.deepcopy(start.network),
        "scratch": lambda seed: system.fresh(seed, begins=False),
    }
    return {
        name: searched(job.part(name), system, tasks, steps, Begin(each, features=system.last))
        for name, each in begun.items()
    }


def revision_losses(job: Job, system: OpenedSystem, kind: type[PreTrainedModel]) -> dict[str, float]:
    """Return the held-out nats of each kept checkpoint, by step."""
    found = {}
    for folder in sorted(revisions(job).iterdir()):
        network = kind.from_pretrained(folder, dtype=torch.float32)
        objective = system.module.Objective(network, system.special_tokens)
        found[str(int(folder.name.removeprefix("step-")))] = held_out(system, objective)
    return found


def warmups(job: Job, system: OpenedSystem, steps: int) -> dict[str, dict[str, float]]:
    """Return the held-out nats of two short trainings, with and without a warm-up: with Adam, of which the claim is."""
    found = {}
    for key, warms_up in (("with_warmup", True), ("without_warmup", False)):
        objective = system.module.Objective(system.fresh(system.settings.seed), system.special_tokens)
        training = system.training(steps, adam=True)
        own = engine.Overrides(schedule=schedule_of(system, training, warms_up=warms_up), compiled=False)
        trained(job.part(key), system, objective, training, own)
        found[key] = {"nats": held_out(system, objective)}
    return found
