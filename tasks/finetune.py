"""Fine-tuning of the pretrained model to a policy that continues reviews.

`python -m tasks.finetune`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.data.prompts import TEMPLATE, Prompts
from jokbo.evaluation.perplexity import response_perplexity
from jokbo.evaluation.results import Finetuning, PolicyTuning
from jokbo.finetuning import continuation
from jokbo.models import access, causal
from jokbo.training import engine, memory
from tasks.frame.paths import BASE, POLICY, PROMPTS
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Finetune


def finetune(stage: Stage[Finetune]) -> None:
    params, seed = stage.params.policy, stage.params.seed
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    if (template := PROMPTS / TEMPLATE).is_file():
        tokenizer.chat_template = template.read_text("utf-8")
    prompts = Prompts.open(PROMPTS / "train", prompts_per_text=params.prompts_per_text)
    held_out = Prompts.open(PROMPTS / "validation")
    network = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    before = response_perplexity(network, held_out)

    def batches(read: Prompts) -> Callable[[int], engine.Batch]:
        rows = continuation.packed(read, read.targets_NT, access.context(network), access.padding(tokenizer))
        return continuation.batches(rows, params.training.batch_size, seed)

    own = engine.Overrides(validation=lambda: batches(held_out))
    objective, job = causal.NextTokenWhere(network), stage.job("policy")
    memory.check(objective, batches(prompts), params.training, job)
    history = engine.train(objective, batches(prompts), params.training, job, own)
    engine.save_network(network, tokenizer, POLICY, [BASE, PROMPTS], BASE)
    write_curves(stage, {"policy": history})
    after = response_perplexity(network, held_out)
    write_metrics(stage, Finetuning(PolicyTuning(len(prompts), before, after)))


if __name__ == "__main__":
    run_stage("finetune", finetune, parallel=True)
