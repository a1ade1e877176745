"""One system of the family: pretrained for the budget that all share, fine-tuned by the search that all share.

`python -m tasks.family bert`
"""

from __future__ import annotations

import shutil
import sys
from functools import cache, partial

from jokbo.comparison.extras import extras
from jokbo.comparison.finetuning import downstream, vectors
from jokbo.comparison.member import Member, opened
from jokbo.comparison.pretraining import Pretrained, pretrain, revisions
from jokbo.comparison.search import tasks_in
from jokbo.comparison.texts import TASKS
from jokbo.runtime.files import atomic_write_folder
from jokbo.systems.common import save
from tasks.frame.paths import FAMILY_DATA, FAMILY_MODELS
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import Stage, leads, run_stage


def family(stage: Stage) -> None:
    name, job = stage.name.partition("@")[2], stage.job()
    member = opened(name, stage.params, FAMILY_DATA, stage.compute)
    made = pretrain(job, member)
    if leads():
        _save(stage, name, member, made)
    tasks = tasks_in(
        FAMILY_DATA / TASKS, member.tokenizer, member.own.context - 2
    )  # two special tokens have to fit in
    read = cache(
        partial(vectors, member, made.network)
    )  # the regression and the one unit ask for the same texts
    found = {"downstream": downstream(job, member, tasks, made.network, read)}
    found["extra"] = extras(job, member, tasks, made.network, read, made.metrics["steps"])
    write_curves(stage, {name: made.history})
    write_metrics(stage, made.metrics | found)


def _save(stage: Stage, name: str, member: Member, made: Pretrained) -> None:
    with atomic_write_folder(FAMILY_MODELS / name) as whole:
        save(made.network, whole)
        member.tokenizer.save_pretrained(whole)
        if member.own.revisions:
            shutil.copytree(revisions(stage.job()), whole / "revisions")


if __name__ == "__main__":
    run_stage(f"family@{sys.argv[1]}", family, parallel=True)
