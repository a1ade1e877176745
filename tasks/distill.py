"""Distillation: a student with fewer layers learns from the supervised policy. `python -m tasks.distill`"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.data.prompts import Prompts
from jokbo.distillation import distil
from jokbo.distillation.depth import shallower
from jokbo.evaluation.perplexity import response_perplexity
from jokbo.evaluation.results import Distillation
from jokbo.finetuning import continuation
from jokbo.models import access
from jokbo.training import engine, memory
from tasks.frame.paths import POLICY, PROMPTS, STUDENT
from tasks.frame.records import leave_out, write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Distill, NoStudent


def distill(stage: Stage[Any]) -> None:
    params: Distill | NoStudent = stage.params
    if params.kind == "none":
        leave_out(STUDENT, "distill.kind is none in params.yaml")
        write_curves(stage, {})
        write_metrics(stage, {})
        return
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    teacher = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
    prompts = Prompts.open(PROMPTS / "train", prompts_per_text=params.prompts_per_text)
    held_out = Prompts.open(PROMPTS / "validation")
    student = shallower(teacher, params.layers)

    # the teacher has something to say of prompts too: every token is a target
    def batches(read: Prompts) -> Callable[[int], engine.Batch]:
        rows = continuation.packed(read, read.real_NT, access.context(teacher), access.padding(tokenizer))
        return continuation.batches(rows, params.training.batch_size, params.seed)

    own = engine.Overrides(validation=lambda: batches(held_out))
    objective = distil.Distil(student, teacher, params.temperature, params.weights)
    memory.check(objective, batches(prompts), params.training, stage.job(), [teacher])
    history = engine.train(objective, batches(prompts), params.training, stage.job(), own)
    engine.save_network(student, tokenizer, STUDENT, [POLICY, PROMPTS])
    write_curves(stage, {"distill": history})
    measured = Distillation(
        parameters=student.num_parameters(),
        teacher=response_perplexity(teacher, held_out),
        student=response_perplexity(student, held_out),
    )
    write_metrics(stage, measured)


if __name__ == "__main__":
    run_stage("distill", distill, parallel=True)
