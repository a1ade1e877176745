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
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from jokbo import params  # first: it keeps DeepSpeed quiet

import torch  # isort: skip
from transformers import AutoTokenizer

from jokbo.comparison.claims import CLAIMS, Evidence, check
from jokbo.comparison.finetuning import Start, downstream, vectors
from jokbo.comparison.pretraining import pretrain
from jokbo.comparison.search import Task, tasks_in
from jokbo.comparison.system import OpenedSystem, opened
from jokbo.comparison.table import with_error
from jokbo.comparison.texts import TASKS
from jokbo.comparison.verdicts import RULE, SEEN, UNMEASURED, gain
from jokbo.params import Compute, FamilyParams
from jokbo.reporting.tables import DASH, Table, large, number
from jokbo.runtime import environment
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_if_there, read_json, write_text
from jokbo.runtime.tracking import Run
from jokbo.training import processes
from jokbo.training.job import Job
from tasks.frame.paths import FAMILY, FAMILY_DATA, STATE

PROFILE = Path("profiles/large.yaml")
ROWS = Path("results/large")
HEADER = ("Parameters", "Tokens", "FLOPs", "Seconds", "Loss, nats", "Copying, nats", "Context, nats")
OVER = [each for each in CLAIMS if len(each.needs) == 2 and each.here.startswith("what pretraining adds")]
LEGEND = f"""With so many labels: accuracy on test texts, %, pretrained / frozen random (ELMo) / from scratch; and what
pretraining adds to the last, points (standard error). Context is what a text's own context lowers the loss by, nats
(standard error). Seconds are of pretraining; on a GPU, of systems that shared it. {DASH}: not run."""
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
            print(table(rows))
    except InputError as error:
        sys.exit(f"jokbo: {error}")


def tiny(settings: FamilyParams) -> FamilyParams:
    """Return the settings at a size that shows in seconds whether all of it runs."""
    family = settings.family
    systems = {
        name: own.model_copy(update={"context": 32, "batch_size": 8}) for name, own in family.systems.items()
    }
    labels = family.finetune.labels[0].model_copy(update={"count": 40, "steps": SMOKE["steps"]})
    finetune = family.finetune.model_copy(
        update={
            "labels": [labels],
            **{"seeds": [1, 2], "learning_rates": [0.0005, 0.001], "batch_size": 8},
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
    system, key = opened(name, settings.family, FAMILY_DATA, compute), key_of(name, settings)
    path = rows / f"{name}.json"
    row: dict[str, Any] = read_if_there(path) or {}
    if row.get("key") != key:
        row = {"key": key, "name": name, "begun": now()}
    folder = Path("..") / STATE / "large" / key
    job = Job(f"large@{name}", settings.family.seed, compute, Run(), folder)
    tasks = labelled(system, settings, smoke=smoke)
    say(f"on {kind(environment.collect())}, {settings.family.budget.amount:.2g} FLOPs")
    made = pretrain(job, system)
    row |= made.metrics | {"environment": environment.collect(), "settings": settings_of(name, settings)}
    results: dict[str, Any] = row.setdefault("downstream", {})
    leave(path, row)
    say(f"pretrained to {made.metrics['pretraining']['nats']:.3f} nats in {made.metrics['steps']} steps")
    start = Start(made.network, cache(partial(vectors, system, made.network)))
    for labels in settings.family.finetune.labels:
        some, count = [task.first(labels.count) for task in tasks], str(labels.count)
        found = downstream(job.part(count), system, some, start, labels.steps)
        results[count] = found
        leave(path, row)
        gc.collect()  # the engines of its trainings hold on to their networks
        told = ", ".join(f"{each} {result['mean']:.1%}" for each, result in found.items())
        say(f"{count} labels: {told}")


def table(rows: Path) -> str:
    """Return the rows that are there as a page of markdown.

    Raises InputError if there are none, or if they were made on different kinds of machine.
    """
    found = {path.stem: read_json(path) for path in sorted(rows.glob("*.json"))}
    if not found:
        raise InputError(f"{FAMILY / rows}: no row: run `python -m benchmarks.large SYSTEM`")
    machines = {name: kind(row["environment"]) for name, row in found.items()}
    if len(set(machines.values())) > 1:
        told = ", ".join(f"{name} on {machine}" for name, machine in machines.items())
        raise InputError(
            f"{FAMILY / rows}: rows of one table are of one kind of machine: {told}: run some again"
        )
    counts = sorted({count for row in found.values() for count in row["downstream"]}, key=by_count)
    header = ["System", *HEADER, *(f"{count} labels" for count in counts)]
    lines = [
        [row["title"], *costs(row), *(told_gain(row["downstream"].get(count)) for count in counts)]
        for row in found.values()
    ]
    on = f"On {machines.popitem()[1]}. {paying(found, counts)}"
    parts = [on, Table("large", "", header, lines).markdown(1), LEGEND, *claimed(found, counts), RULE]
    return "\n\n".join(parts)


def by_count(count: str) -> float:
    return math.inf if count == "all" else int(count)


def costs(row: Mapping[str, Any]) -> list[str]:
    """Return what a row's pretraining cost and came to, as HEADER names it."""
    learned = row["pretraining"]
    context = learned["context"]
    return [
        *(large(row[key]) for key in ("parameters", "tokens", "flops")),
        *(number(value) for value in (row["seconds"], learned["nats"], learned["copying"])),
        with_error(context["gain"], context["error"], 2),
    ]


def told_gain(results: Mapping[str, Any] | None) -> str:
    """Return both accuracies, and what pretraining adds with its standard error."""
    if not results:
        return DASH
    found = gain(results)
    pair = " / ".join(f"{100 * result['mean']:.1f}" for result in results.values())
    return f"{pair}: {with_error(100 * found.value, 100 * found.error, 1)}"


def paying(found: Mapping[str, Any], counts: Sequence[str]) -> str:
    """Return two sentences on whether pretraining pays by two standard errors: what does not, and what is not there."""
    parts = []
    for count in counts:
        having = [row for row in found.values() if count in row["downstream"]]
        without = [row["title"] for row in having if gain(row["downstream"][count]).verdict != SEEN]
        excepted = f" (not {', '.join(without)})" if without else ""
        parts.append(f"with {count} labels for {len(having) - len(without)} of {len(having)}{excepted}")
    missing = [row["title"] for row in found.values() if not row["downstream"]]
    left_out = f" Not fine-tuned yet: {', '.join(missing)}." if missing else ""
    return f"Pretraining pays, by two standard errors, {'; '.join(parts) or 'nowhere yet'}.{left_out}"


def claimed(found: Mapping[str, Any], counts: Sequence[str]) -> list[str]:
    """Return a table of the papers' claims on two systems that are both there, for each number of labels."""
    tables = []
    for count in counts:
        having = {name: row for name, row in found.items() if count in row["downstream"]}
        told = [
            each for each in check(Evidence(having, {}, {}, count), OVER) if each["verdict"] != UNMEASURED
        ]
        if not told:
            continue
        columns = ("claim", "paper", "figures", "verdict")
        cells = [[each[column] for column in columns] for each in told]
        tables.append(
            f"With {count} labels:\n\n" + Table("claims", "", [*map(str.title, columns)], cells).markdown(4)
        )
    return tables


def prepared(compute: Compute) -> Compute:
    """Return by what it is computed: one process, and on a GPU neither compiled nor the same bits each time, as both
    cost more there than they are worth."""
    processes.join()
    if processes.device().type == "cpu":
        return compute
    torch.use_deterministic_algorithms(False)
    return compute.model_copy(
        update={
            "processes": 1,
            "zero_stage": 0,
            "offload": "none",
            "micro_batch": 0,
            "compile": False,
            "checkpoint_seconds": 60,
        }
    )


@cache
def tokenized(tokenizer: Path, length: int) -> list[Task]:
    """Return all tasks as tokens, made once for systems that read the same."""
    return tasks_in(FAMILY_DATA / TASKS, AutoTokenizer.from_pretrained(tokenizer), length)


def labelled(system: OpenedSystem, settings: FamilyParams, *, smoke: bool) -> list[Task]:
    """Return the tasks of the profile, with room for the special tokens of a text."""
    found = tokenized(FAMILY_DATA / system.own.text / "tokenizer", system.own.context - 2)
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
