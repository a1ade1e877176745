"""Labelled tasks: each is learned by the pretrained network, and beside it by the same one from random weights.

`python -m tasks.tasks`
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from jokbo.data.tables import open_splits
from jokbo.finetuning.tasks import kinds, scores, tuning
from jokbo.finetuning.tasks.labelled import Labelled
from jokbo.finetuning.tasks.results import TaskResult, Tasks
from jokbo.models import causal
from jokbo.training import engine
from tasks.frame.paths import BASE, DOCUMENTS, TASKS
from tasks.frame.records import note, write_curves, write_metrics
from tasks.frame.stage import Stage, leads, run_stage

if TYPE_CHECKING:
    from jokbo.finetuning.tasks.tuning import Start
    from jokbo.params import Finetune
    from jokbo.training.loop import Row


def tasks(stage: Stage[Finetune]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    if leads():  # models of tasks that are no more
        shutil.rmtree(TASKS, ignore_errors=True)
        TASKS.mkdir(parents=True)
    found = {name: _task(stage, name, tokenizer) for name in stage.params.tasks}
    write_curves(stage, {part: rows for curves, _ in found.values() for part, rows in curves.items()})
    write_metrics(stage, Tasks({name: result for name, (_, result) in found.items()}))


def _task(
    stage: Stage[Finetune], name: str, tokenizer: PreTrainedTokenizerBase
) -> tuple[dict[str, list[Row]], TaskResult]:
    """Return the curves of a task's trainings and what came of it; its model is saved."""
    params = stage.params.tasks[name]
    kind = kinds.of(params)
    data = Labelled.of(open_splits(DOCUMENTS), params.source, kind, tokenizer, params.context)
    why = f"texts are longer than finetune.tasks.{name}.context: the rest of them is not read"
    note(stage, f"{name}.truncated", data.cut["train"], len(data.rows["train"]), why)
    task, curves, found = tuning.Task(kind, data, params), {}, {}
    starts = _starts(scratch=params.scratch)
    for start_name, start in starts.items():
        part = f"{name}-{start_name}" if start.fresh else name
        tuned = tuning.searched(stage.job(part), task, start)
        curves[part] = tuned.history
        found[start_name] = scores.of_network(tuned, task, stage.params.seed)
        if not start.fresh:
            engine.save_network(tuned.network, tokenizer, TASKS / name, [BASE, DOCUMENTS], BASE)
    if params.kind == "classification":
        found[tuning.NAIVE_BAYES] = scores.of_naive_bayes(task, stage.params.seed)
    points = tuning.curve(stage.job(f"{name}-curve"), task, starts)
    return curves, scores.result(task, found, points)


def _starts(*, scratch: bool) -> Mapping[str, Start]:
    """Return what trainings begin with: the base model, and the same network with random weights."""
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    starts = {"pretrained": tuning.Start(lambda seed: base)}
    if scratch:
        starts["scratch"] = tuning.Start(lambda seed: causal.build(base.config, seed=seed), fresh=True)
    return starts


if __name__ == "__main__":
    run_stage("tasks", tasks, parallel=True, section="finetune")
