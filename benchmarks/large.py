"""The large comparison: eight systems of family/profiles/large.yaml at a hundred times the budget of `make family`.

`python -m benchmarks.large bert` pretrains BERT, fine-tunes it on each number of labels, and leaves its row,
family/results/large/bert.json, after each of these. Stopped, the same command goes on where it was. It runs on a GPU
where there is one. `python -m benchmarks.large --table` prints the rows that are there, which must be of one kind of
machine. `--smoke FOLDER` does everything in a minute at a tiny size, and leaves its rows in that folder.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from jokbo import params  # first: it keeps DeepSpeed quiet

import torch  # isort: skip
from transformers import AutoTokenizer

from jokbo.comparison.finetuning import Start, downstream, vectors
from jokbo.comparison.member import Member, opened
from jokbo.comparison.pretraining import pretrain
from jokbo.comparison.search import Task, tasks_in
from jokbo.comparison.texts import TASKS
from jokbo.params import Compute, FamilyParams
from jokbo.runtime import environment
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import remembered, write_text
from jokbo.runtime.tracking import Run
from jokbo.training import processes
from jokbo.training.job import Job
from tasks.frame.paths import FAMILY, FAMILY_DATA, STATE

PROFILE = Path("profiles/large.yaml")
ROWS = Path("results/large")
SMOKE = {"steps": 3, "texts": 48}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("systems", nargs="*")
    parser.add_argument("--table", action="store_true", help="print the rows that are there")
    parser.add_argument("--smoke", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    rows = (arguments.smoke.resolve() if arguments.smoke else None) or ROWS
    os.chdir(FAMILY)
    try:
        settings = params.load_family(profile=PROFILE)
        if unknown := sorted(set(arguments.systems) - set(settings.family.systems)):
            raise InputError(f"{FAMILY / PROFILE}: family.systems has no {', '.join(unknown)}")
        if arguments.smoke:
            settings = tiny(settings)
        for name in arguments.systems:
            compared(name, settings, rows, smoke=bool(arguments.smoke))
        if arguments.table:
            print("not yet")
    except InputError as error:
        sys.exit(f"jokbo: {error}")


def tiny(settings: FamilyParams) -> FamilyParams:
    """Return the settings at a size that shows in seconds whether all of it runs."""
    family = settings.family
    systems = {
        name: own.model_copy(update={"context": 32, "batch": 8}) for name, own in family.systems.items()
    }
    labels = [each.model_copy(update={"steps": SMOKE["steps"]}) for each in family.finetune.labels[:2]]
    finetune = family.finetune.model_copy(
        update={
            "labels": [each.model_copy(update={"count": 40}) for each in labels[:1]] + labels[1:],
            **{"seeds": [1, 2], "learning_rates": [0.0005, 0.001], "batch": 8},
        }
    )
    budget = family.budget.model_copy(update={"amount": 6e10})
    changed = {"systems": systems, "finetune": finetune, "budget": budget, "held_out_batches": 2}
    return settings.model_copy(
        update={
            "family": family.model_copy(update=changed),
            "compute": settings.compute.model_copy(update={"compile": False}),
        }
    )


def compared(name: str, settings: FamilyParams, rows: Path, *, smoke: bool) -> None:
    """Pretrain and fine-tune one system, and leave its row after each of the two and each number of labels."""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{name} {time.monotonic() - began:6.1f} s: {what}", flush=True)

    compute = prepared(settings.compute)
    member, key = opened(name, settings.family, FAMILY_DATA, compute), key_of(name, settings)
    path = rows / f"{name}.json"
    row = remembered(path) or {}
    if row.get("key") != key:
        row = {"key": key, "name": name, "begun": now()}
    folder = Path("..") / STATE / "large" / key
    job = Job(f"large@{name}", settings.family.seed, compute, Run(), folder)
    tasks = labelled(member, settings, smoke=smoke)
    say(f"on {kind(environment.collect())}, {settings.family.budget.amount:.2g} FLOPs")
    made = pretrain(job, member)
    row |= made.metrics | {"environment": environment.collect(), "settings": settings_of(name, settings)}
    row.setdefault("downstream", {})
    leave(path, row)
    say(f"pretrained to {made.metrics['pretraining']['nats']:.3f} nats in {made.metrics['steps']} steps")
    start = Start(made.network, cache(partial(vectors, member, made.network)))
    for labels in settings.family.finetune.labels:
        some, count = [task.first(labels.count) for task in tasks], str(labels.count)
        found = downstream(job.part(count), member, some, start, labels.steps)
        row["downstream"][count] = found
        leave(path, row)
        gc.collect()  # the engines of its trainings hold on to their networks
        told = ", ".join(f"{each} {result['mean']:.1%}" for each, result in found.items())
        say(f"{count} labels: {told}")


def prepared(compute: Compute) -> Compute:
    """Return by what it is computed: one process, and on a GPU neither compiled nor the same bits each time, as both
    cost more there than they are worth."""
    processes.join()
    if processes.device().type == "cpu":
        return compute
    torch.use_deterministic_algorithms(False)
    return compute.model_copy(
        update={"processes": 1, "zero_stage": 0, "micro_batch": 0, "compile": False, "checkpoint_seconds": 60}
    )


@cache
def tokenized(tokenizer: Path, length: int) -> list[Task]:
    """Return all tasks as tokens, made once for systems that read the same."""
    return tasks_in(FAMILY_DATA / TASKS, AutoTokenizer.from_pretrained(tokenizer), length)


def labelled(member: Member, settings: FamilyParams, *, smoke: bool) -> list[Task]:
    """Return the tasks of the profile, with room for the special tokens of a text."""
    found = tokenized(FAMILY_DATA / member.own.text / "tokenizer", member.own.context - 2)
    named = [task for task in found if task.name in settings.family_text.tasks]
    return [few(task) for task in named] if smoke else named


def few(task: Task) -> Task:
    """Return a task with so few texts that they take no time."""
    some = slice(SMOKE["texts"])
    tokens, labels = (
        {split: rows if split == "train" else rows[some] for split, rows in part.items()}
        for part in (task.tokens, task.labels)
    )
    return replace(task, tokens=tokens, labels=labels)


def settings_of(name: str, settings: FamilyParams) -> dict[str, Any]:
    """Return what the row of a system depends on."""
    family = settings.family.model_dump(exclude={"systems", "defaults"})
    return {**family, "system": settings.family.systems[name].model_dump(exclude_none=True)}


def key_of(name: str, settings: FamilyParams) -> str:
    """Return a name for the settings of a system, and for what is kept of its trainings."""
    text = json.dumps(settings_of(name, settings), sort_keys=True)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def kind(found: dict[str, Any]) -> str:
    """Return which kind of machine an environment is."""
    return ", ".join(sorted(set(map(str, found["accelerators"])))) or found["processor"]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def leave(path: Path, row: dict[str, Any]) -> None:
    row["ended"] = now()
    write_text(path, json.dumps(row, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
