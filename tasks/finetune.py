"""Fine-tuning of the pretrained model: a policy that continues reviews, and GPT-1's classifier of sentences.

`python -m tasks.finetune`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from jokbo.data.prompts import TEMPLATE, Prompts
from jokbo.data.tables import open_splits
from jokbo.evaluation.baselines import naive_bayes
from jokbo.evaluation.perplexity import response_perplexity
from jokbo.evaluation.results import Finetuning, PolicyTuning
from jokbo.finetuning import classifier, continuation
from jokbo.models import access, causal, heads
from jokbo.training import engine
from tasks.frame.paths import BASE, CLASSIFIER, DOCUMENTS, POLICY, PROMPTS
from tasks.frame.records import note, write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Finetune
    from jokbo.training.loop import Row

HELD_OUT = ("validation", "test")


def finetune(stage: Stage[Finetune]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    if (template := PROMPTS / TEMPLATE).is_file():
        tokenizer.chat_template = template.read_text("utf-8")
    history, policy = _policy(stage, tokenizer)
    curves, accuracy = _classifiers(stage, tokenizer)
    write_curves(stage, {"policy": history, **curves})
    write_metrics(stage, Finetuning(policy, accuracy))


def _policy(stage: Stage[Finetune], tokenizer: PreTrainedTokenizerBase) -> tuple[list[Row], PolicyTuning]:
    params, seed = stage.params.policy, stage.params.seed
    prompts = Prompts.open(PROMPTS / "train", prompts_per_text=params.prompts_per_text)
    held_out = Prompts.open(PROMPTS / "validation")
    network = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    before = response_perplexity(network, held_out)

    def batches(read: Prompts) -> Callable[[int], engine.Batch]:
        rows = continuation.packed(read, read.targets_NT, access.context(network), access.padding(tokenizer))
        return continuation.batches(rows, params.training.batch_size, seed)

    own = engine.Overrides(validation=lambda: batches(held_out))
    objective = causal.NextTokenWhere(network)
    history = engine.train(objective, batches(prompts), params.training, stage.job("policy"), own)
    engine.save_network(network, tokenizer, POLICY, [BASE, PROMPTS], BASE)
    return history, PolicyTuning(len(prompts), before, response_perplexity(network, held_out))


def _classifiers(
    stage: Stage[Finetune], tokenizer: PreTrainedTokenizerBase
) -> tuple[dict[str, list[Row]], dict[str, dict[str, float]]]:
    """Return curves and accuracies of the same training from the pretrained network and from random weights.

    Naive Bayes stands beside them.
    """
    params, seed = stage.params.classifier, stage.params.seed
    data = classifier.Labelled.of(open_splits(DOCUMENTS), params.source, tokenizer, params.context)
    truncated = heads.full(data.tokens["train"], access.end_of_text(tokenizer))
    why = "texts fill finetune.classifier.context: the rest of them is not read"
    note(stage, "classifier.truncated", truncated, len(data.texts["train"]), why)

    def batches(read: classifier.Labelled) -> Callable[[int], engine.Batch]:
        return classifier.batches(read, tokenizer, params.training.batch_size, seed, params.source)

    own = engine.Overrides(validation=lambda: batches(data.of_validation()))
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    curves: dict[str, list[Row]] = {}
    accuracy: dict[str, dict[str, float]] = {}
    for name, backbone, training in (
        ("classifier", base, params.training),
        ("classifier-scratch", causal.build(base.config, seed=seed), params.training.in_full()),
    ):
        network = heads.on_each(backbone, labels=2, seed=seed)
        objective = classifier.Classify(network, params.language_model_weight)
        curves[name] = engine.train(objective, batches(data), training, stage.job(name), own)
        predicted = {
            split: heads.outputs(network, data.tokens[split], heads.of_mean).argmax(-1).tolist()
            for split in HELD_OUT
        }
        accuracy[name] = classifier.accuracies(data, predicted)
        if name == "classifier":
            engine.save_network(network, tokenizer, CLASSIFIER, [BASE, DOCUMENTS], BASE)
    bayes = naive_bayes(data.texts["train"], data.labels["train"])
    predicted = {split: bayes.predict(data.texts[split]).tolist() for split in HELD_OUT}
    accuracy["naive-bayes"] = classifier.accuracies(data, predicted)
    return curves, accuracy


if __name__ == "__main__":
    run_stage("finetune", finetune, parallel=True)
