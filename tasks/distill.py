"""Distillation: a student with fewer layers learns from the supervised policy. `python -m tasks.distill`"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.data.corpus.batches import sample_indices
from jokbo.data.prompts import Prompts
from jokbo.distillation import distil
from jokbo.evaluation.perplexity import answer_perplexity
from jokbo.models import causal
from jokbo.reporting import model_card
from jokbo.training import engine
from tasks.frame.paths import POLICY, PROMPTS, STUDENT
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage


def distill(stage: Stage) -> None:
    params = stage.params
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    teacher = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
    rows = Prompts.open(PROMPTS / "train", sentences=params.sentences_per_review)
    held_out = Prompts.open(PROMPTS / "validation")
    real_NT = rows.real_NT  # the teacher has something to say of prompts too
    student = distil.student_of(teacher, params.layers)

    def batch_at(step: int) -> engine.Batch:
        indices = sample_indices(
            step, params.training.batch, len(rows), params.seed, "continuations of reviews"
        )
        return causal.training_rows(rows.tokens_NS, real_NT, torch.from_numpy(indices))

    objective = distil.Distil(student, teacher, params.temperature, params.weights)
    history = engine.train(objective, batch_at, params.training, stage.job())
    engine.save_network(student, tokenizer, STUDENT, model_card.text(STUDENT, student, [POLICY, PROMPTS]))
    write_curves(stage, {"distill": history})
    read = {
        name: answer_perplexity(network, held_out)
        for name, network in (("teacher", teacher), ("student", student))
    }
    write_metrics(stage, {**read, "parameters": student.num_parameters()})


if __name__ == "__main__":
    run_stage("distill", distill, parallel=True)
