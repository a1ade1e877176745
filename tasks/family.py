"""One system of the family: pretrained for the budget that all share, fine-tuned by the search that all share.

`python -m tasks.family bert`
"""

from __future__ import annotations

import json
import shutil
import sys
from functools import cache, partial
from typing import Any

from jokbo.comparison.extras import extras
from jokbo.comparison.finetuning import Start, check_same, downstream, vectors
from jokbo.comparison.pretraining import Pretrained, pretrain, revisions
from jokbo.comparison.search import kept, parted, tasks_in
from jokbo.comparison.system import OpenedSystem, opened
from jokbo.comparison.texts import TASKS
from jokbo.runtime.files import atomic_write_folder, write_text
from jokbo.systems.common import save
from tasks.frame.paths import FAMILY_DATA, FAMILY_MODELS, FAMILY_RIGHT, METRICS
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import Stage, leads, run_stage


def family(stage: Stage) -> None:
    name, job, settings = stage.name.partition("@")[2], stage.job(), stage.params
    system = opened(name, settings, FAMILY_DATA, stage.compute)
    known = _known(stage, system)
    made = pretrain(job, system)
    if leads():
        _save(stage, name, system, made)
    start = Start(made.network, cache(partial(vectors, system, made.network)))
    whole = tasks_in(
        FAMILY_DATA / TASKS, system.tokenizer, system.own.context - 2
    )  # two special tokens fit in
    found: dict[str, Any] = {"downstream": {}}
    for labels in settings.finetune.labels:
        tasks, count = [task.first(labels.count) for task in whole], str(labels.count)
        scratch = known[count]["scratch"] if known else None
        found["downstream"][count] = downstream(job.part(count), system, tasks, start, labels.steps, scratch)
    tasks = [task.first(settings.finetune.labels[0].count) for task in whole]
    found["extra"] = extras(job, system, tasks, start, made.metrics["steps"])
    metrics, texts = parted(found)
    if leads():
        write_text(FAMILY_RIGHT / f"{name}.json", json.dumps(texts) + "\n")
    write_curves(stage, {name: made.history})
    write_metrics(stage, made.metrics | metrics)


def _known(stage: Stage, system: OpenedSystem) -> dict[str, Any] | None:
    """Return the downstream results of the system that has this one's network from scratch, if one is named."""
    if (other := system.own.scratch) is None:
        return None
    check_same(system, opened(other, stage.params, FAMILY_DATA, stage.compute))
    files = (METRICS / "family" / f"{other}.json", FAMILY_RIGHT / f"{other}.json")
    return kept(*files, remedy="run `make family`")["downstream"]


def _save(stage: Stage, name: str, system: OpenedSystem, made: Pretrained) -> None:
    with atomic_write_folder(FAMILY_MODELS / name) as whole:
        save(made.network, whole)
        system.tokenizer.save_pretrained(whole)
        if system.own.revisions:
            shutil.copytree(revisions(stage.job()), whole / "revisions")


if __name__ == "__main__":
    run_stage(f"family@{sys.argv[1]}", family, parallel=True)
