"""One system of the family: pretrained for the budget that all share, fine-tuned by the search that all share.

`python -m tasks.family bert`
"""

from __future__ import annotations

import copy
import importlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from jokbo.comparison import budget
from jokbo.comparison.search import Classifier, Task, frozen, search, tasks_in
from jokbo.data.corpus.token_corpus import TokenCorpus
from jokbo.models.heads import by_length
from jokbo.runtime.files import read_json, remembered, whole_directory, write_text
from jokbo.systems.common import Marks, Size, Text, encoded, marks_of, save
from jokbo.training import engine, processes
from jokbo.training.schedules import Schedule
from tasks.frame.paths import FACTS, FAMILY_DATA, FAMILY_MODELS, TASKS, TRANSLATIONS
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import Stage, leads, run_stage
from tasks.recipe import adafactor, fine_tune, of_search, recipe

if TYPE_CHECKING:
    from jokbo.params import Family, System, Training

PROBE = 0.25  # of the steps: the trainings with and without a warm-up


@dataclass(frozen=True)
class Member:
    """A system of the family with what it is made from."""

    settings: Family
    own: System
    module: ModuleType  # of jokbo.systems
    size: Size
    marks: Marks
    train: Text
    validation: Text
    tokenizer: PreTrainedTokenizerBase
    unit: int = 1  # every batch has a multiple of so many rows, for ranks and micro-batches to share

    def fresh(self, seed: int, *, begins: bool = True) -> nn.Module:
        """The untrained network; where it begins with a teacher's layers, only if it `begins`."""
        more = {key: value for key, value in self.size.more.items() if begins or key != "teacher"}
        return self.module.network(replace(self.size, more=more), self.marks, seed)

    def training(self, steps: int, *, adam: bool = False) -> Training:
        """Its pretraining of so many steps by the recipe of params.yaml; or, for a probe, the same with Adam."""
        own, settings = self.own, self.settings
        warmup = round(settings.warmup_fraction * steps)
        muon = settings.muon_learning_rate if own.optimizer == "muon" and not adam else None
        return recipe(settings, own.precision, own.learning_rate, steps, own.batch, warmup, muon)

    def optimizer(self, objective: nn.Module) -> torch.optim.Optimizer | None:
        """Of its pretraining, where the engine does not make it."""
        return adafactor(self.own.learning_rate, objective) if self.own.optimizer == "adafactor" else None

    def rows_at(self, share: float) -> int:
        """Rows of a batch when a share of the budget is spent."""
        if self.own.schedule == "one_cycle":
            return -(-self.module.rows(share, self.own.batch) // self.unit) * self.unit
        return self.own.batch

    def batch(self, text: Text, step: int, rows: int) -> engine.Batch:
        return self.module.batch(text, step, rows, self.own.context, self.settings.seed)

    def features(self, network: nn.Module, tokens_BT: Tensor) -> Tensor:
        return self.module.features(network, tokens_BT, self.marks)


def opened(name: str, settings: Family, unit: int = 1) -> Member:
    """The system as params.yaml describes it, on the text that the stage family_text left; batches of whole units."""
    own = settings.systems[name]
    folder = FAMILY_DATA / own.text
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    marks, pairs = marks_of(tokenizer), []
    if (folder / TRANSLATIONS).exists():
        pairs = encoded(read_json(folder / TRANSLATIONS), tokenizer.backend_tokenizer)
    texts = [
        Text(TokenCorpus.open(folder / split), marks, len(tokenizer), pairs)
        for split in ("train", "validation")
    ]
    more = own.more.model_dump(exclude_none=True)
    size = Size(len(tokenizer), own.layers, own.width, own.heads, own.context, own.dropout, more)
    module = importlib.import_module(f"jokbo.systems.{own.module}")
    return Member(settings, own, module, size, marks, *texts, tokenizer, unit)


def family(stage: Stage) -> None:
    name, settings = stage.name.partition("@")[2], stage.params
    member = opened(name, settings, stage.compute.processes * max(stage.compute.micro_batch, 1))
    network, history, metrics = pretrain(stage, member)
    folder = FAMILY_MODELS / name
    if leads():
        with whole_directory(folder) as whole:
            save(network, whole)
            member.tokenizer.save_pretrained(whole)
            if member.own.revisions:
                shutil.copytree(revisions(stage), whole / "revisions")
    tasks = tasks_in(
        FAMILY_DATA / TASKS, member.tokenizer, member.own.context - 2
    )  # two marks have to fit in
    fresh = partial(member.fresh, begins=False)
    read = cache(partial(vectors, member, network))  # the regression and the one unit ask for the same texts
    if member.own.finetune == "frozen":
        starts = {"pretrained": read, "scratch": partial(vectors, member, fresh(settings.finetune.seeds[0]))}
        metrics["downstream"] = {start: frozen(tasks, each) for start, each in starts.items()}
    else:
        starts = {"pretrained": lambda seed: copy.deepcopy(network), "scratch": fresh}
        metrics["downstream"] = {
            start: searched(stage, member, tasks, start, begun) for start, begun in starts.items()
        }
    metrics["extra"] = extra(stage, member, tasks, network, read, metrics["steps"])
    write_curves(stage, {name: history})
    write_metrics(stage, metrics)


def pretrain(stage: Stage, member: Member) -> tuple[nn.Module, list[dict[str, float]], dict[str, Any]]:
    """The trained network, its curve, and what is measured of it."""
    settings, own, module = member.settings, member.own, member.module
    network = member.fresh(settings.seed)
    objective = module.Objective(network, member.marks)
    # the ramp of a batch that grows is as dear as steps of its mean size
    rows = [member.rows_at(place / 1000) for place in range(1000)]
    mean_rows = sum(rows) / len(rows)
    flops = budget.flops_of(objective, member.batch(member.train, 0, own.batch)) * mean_rows / own.batch

    def timed() -> float:
        usual = min(rows, key=lambda some: abs(some - mean_rows))  # in a whole batch a row takes less time

        def batch_at(step: int) -> engine.Batch:
            return member.batch(member.train, step, usual)

        seconds = budget.seconds_of(objective, batch_at, member.training(1), stage.compute, member.optimizer)
        return seconds * mean_rows / usual

    steps = budget.steps_for(
        settings.budget,
        tokens=mean_rows * own.context,
        flops=flops,
        timed=timed,
        remembered=stage.checkpoints / "budget.json",
    )
    before = nats(member, objective)
    history, seconds = timed_pretraining(stage, member, objective, steps)
    unigram = read_json(FAMILY_DATA / FACTS)["texts"][own.text]["unigram_entropy"]
    return (
        network,
        history,
        {
            "title": module.TITLE,
            "year": module.YEAR,
            "objective": module.OBJECTIVE,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "steps": steps,
            "tokens": round(steps * mean_rows * own.context),
            "flops": float(steps * flops),
            "seconds": seconds,
            "pretraining": {
                "kind": module.NATS,
                "before": before,
                "nats": nats(member, objective),
                "unigram": unigram,
            },
        },
    )


def timed_pretraining(
    stage: Stage, member: Member, objective: nn.Module, steps: int
) -> tuple[list[dict[str, float]], float]:
    """The curve, and the seconds that its steps took, also of a run that went on with one: what a start costs, and
    steps that a kill made it do again, are no part of them."""
    known, last = stage.checkpoints / "seconds.json", None
    spent = remembered(known) or {"steps": 0, "seconds": 0.0}

    def count(step: int) -> None:
        nonlocal last
        now = time.monotonic()
        if last is not None:
            spent["steps"] += 1
            spent["seconds"] += now - last
        last = now
        if member.own.revisions and leads() and step & (step - 1) == 0:
            save(objective.network, revisions(stage) / f"step-{step:08d}")
        if leads() and (step == steps or step % 50 == 0):
            write_text(known, json.dumps(spent))

    history = pretraining(
        stage,
        member,
        objective,
        member.training(steps),
        "pretrain",
        optimizer=member.optimizer(objective),
        after_step=count,
    )
    found = read_json(known, f"remove {stage.checkpoints}, and it is trained again")
    return history, found["seconds"] * steps / max(found["steps"], 1)


def pretraining(
    stage: Stage,
    member: Member,
    objective: nn.Module,
    settings: Training,
    part: str,
    *,
    warms_up: bool = True,
    optimizer: torch.optim.Optimizer | None = None,
    after_step: Callable[[int], None] | None = None,
) -> list[dict[str, float]]:
    """Trains in place, with the batches and the schedule of the system; returns the curve."""

    def batch_at(step: int) -> engine.Batch:
        return member.batch(member.train, step, member.rows_at(step / settings.steps))

    schedule = schedule_of(member, settings.steps, max(1, settings.warmup_steps), warms_up=warms_up)
    own = engine.Own(optimizer, schedule, compiled=False)  # small networks, for a minute
    return engine.train(objective, batch_at, settings, stage.job(part), own, after_step)


def schedule_of(member: Member, steps: int, warmup: int, *, warms_up: bool) -> Schedule | None:
    """The learning rate as the system's paper has it, 1 at its top; none: the engine's own. Noam's without a warm-up
    begins at the top, and is the same from where the warm-up would have ended."""
    module, width = member.module, member.size.width

    def noam(step: int) -> float:
        place = step + 1 if warms_up else max(step + 1, warmup)
        return module.noam(place, width, warmup) / module.noam(warmup, width, warmup)

    def one_cycle(step: int) -> float:
        return module.rate(step / steps)

    rate = {"trapezoid": None, "noam": noam, "one_cycle": one_cycle}[member.own.schedule]
    return rate and (lambda optimizer: LambdaLR(optimizer, rate))


def revisions(stage: Stage) -> Path:
    """Where checkpoints at steps of powers of two are kept, as Pythia did (Biderman et al. 2023, section 2.4)."""
    return stage.checkpoints / "revisions"


@torch.no_grad()
def nats(member: Member, objective: nn.Module) -> float:
    """The held-out loss of a predicted token, over the same rows of validation text each time."""
    objective.eval().to(processes.device())
    found = []
    for step in range(member.settings.held_out_batches):
        batch = member.batch(member.validation, step, member.own.batch)
        loss, parts = objective(**{key: value.to(processes.device()) for key, value in batch.items()})
        found.append(float({"loss": loss, **parts}[member.module.NATS]))
    return sum(found) / len(found)


def searched(
    stage: Stage, member: Member, tasks: list[Task], kind: str, begun: Callable[[int], nn.Module]
) -> dict[str, Any]:
    """What the search finds for networks that `begun(seed)` gives."""
    settings, own = member.settings.finetune, member.own

    def fitted(task: Task, learning_rate: float, seed: int) -> Classifier:
        network = begun(seed)
        torch.manual_seed(seed)
        width = vectors(member, network, task.tokens["validation"][:2]).shape[1]
        classifier = Classifier(network, member.features, width)
        its = (None, None)
        if own.finetune == "gradual":
            its = member.module.gradual(network, classifier.head, learning_rate, settings.steps)
        training = of_search(stage, own.precision, learning_rate)
        fine_tune(stage, classifier, task, training, seed, engine.Own(*its, compiled=False))
        return classifier

    return search(
        tasks,
        fitted,
        learning_rates=settings.learning_rates,
        seeds=settings.seeds,
        precision=own.precision,
        done=stage.checkpoints / kind,
    )


def vectors(member: Member, network: nn.Module, tokens_NT: Tensor, rows: int = 128) -> Tensor:
    """The features [N, D] of texts, from the network as it is."""
    network.to(processes.device()).eval()

    def read(tokens_BT: Tensor) -> Tensor:
        with processes.autocast(member.own.precision):
            return member.features(network, tokens_BT.to(processes.device())).float()

    return by_length(read, tokens_NT, member.marks.padding, rows)


def extra(
    stage: Stage,
    member: Member,
    tasks: list[Task],
    network: nn.Module,
    read: Callable[[Tensor], Tensor],
    steps: int,
) -> dict[str, Any]:
    """What only some papers ask for. `read` gives the trained network's features of texts."""
    own, found = member.own, {}
    if own.unit:
        found["unit"] = {task.name: best_unit(member, read, task) for task in tasks}
    if own.revisions:
        found["revisions"] = revision_losses(stage, member, type(network))
    if own.schedule == "noam":  # with Adam, of which the claim is
        for key, warms_up in (("with_warmup", True), ("without_warmup", False)):
            objective = member.module.Objective(member.fresh(member.settings.seed), member.marks)
            probe = member.training(max(1, round(PROBE * steps)), adam=True)
            pretraining(stage, member, objective, probe, key, warms_up=warms_up)
            found[key] = {"nats": nats(member, objective)}
    return found


def best_unit(member: Member, read: Callable[[Tensor], Tensor], task: Task) -> dict[str, float]:
    """The one unit that tells the labels of training texts best, and how well it tells those of test texts."""
    features = {split: read(task.tokens[split]).numpy() for split in ("train", "test")}
    unit = member.module.best_unit(features["train"], task.labels["train"].numpy())
    return {"index": unit.index, "accuracy": unit.accuracy(features["test"], task.labels["test"].numpy())}


def revision_losses(stage: Stage, member: Member, kind: type[PreTrainedModel]) -> dict[str, float]:
    """Held-out nats of each kept checkpoint, by step."""
    found = {}
    for folder in sorted(revisions(stage).iterdir()):
        network = kind.from_pretrained(folder, dtype=torch.float32)
        found[str(int(folder.name.removeprefix("step-")))] = nats(
            member, member.module.Objective(network, member.marks)
        )
    return found


if __name__ == "__main__":
    run_stage(f"family@{sys.argv[1]}", family, parallel=True)
