"""Fine-tuning of the pretrained model: a policy that continues reviews, and GPT-1's classifier of sentences.

`python -m tasks.finetune`
"""

from __future__ import annotations

import torch
from datasets import DatasetDict
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from jokbo.data.corpus.batches import sample_indices
from jokbo.data.prompts import Prompts
from jokbo.data.selection import labelled_from
from jokbo.data.tables import open_splits
from jokbo.evaluation.baselines import naive_bayes
from jokbo.evaluation.perplexity import answer_perplexity
from jokbo.finetuning import classifier
from jokbo.models import access, causal, heads
from jokbo.reporting import model_card
from jokbo.training import engine
from tasks.frame.paths import BASE, CLASSIFIER, DOCUMENTS, POLICY, PROMPTS
from tasks.frame.records import note, write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage

Curve = list[dict[str, float]]


def finetune(stage: Stage) -> None:
    documents = open_splits(DOCUMENTS)
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    history, policy = _policy(stage, tokenizer)
    curves, accuracy = _classifiers(stage, tokenizer, documents)
    write_curves(stage, {"policy": history, **curves})
    write_metrics(stage, {"policy": policy, "classifier": accuracy})


def _policy(stage: Stage, tokenizer: PreTrainedTokenizerBase) -> tuple[Curve, dict]:
    params, seed = stage.params.policy, stage.params.seed
    rows = Prompts.open(PROMPTS / "train", sentences=params.sentences_per_review)
    held_out, mask_NT = Prompts.open(PROMPTS / "validation"), rows.mask_NT
    network = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    before = answer_perplexity(network, held_out)

    def batch_at(step: int) -> engine.Batch:
        indices = sample_indices(step, params.training.batch, len(rows), seed, "continuations of reviews")
        return causal.training_rows(rows.tokens_NS, mask_NT, torch.from_numpy(indices))

    history = engine.train(causal.NextTokenWhere(network), batch_at, params.training, stage.job("policy"))
    engine.save_network(network, tokenizer, POLICY, model_card.text(POLICY, network, [BASE, PROMPTS]))
    after = answer_perplexity(network, held_out)
    return history, {"sequences": len(rows), "before": before, "after": after}


def _classifiers(
    stage: Stage, tokenizer: PreTrainedTokenizerBase, documents: DatasetDict
) -> tuple[dict, dict]:
    """The same training from the pretrained network and from random weights, beside naive Bayes."""
    params, seed = stage.params.classifier, stage.params.seed
    texts, labels, tokens = {}, {}, {}
    for split in ("train", "validation", "test"):
        texts[split], labels[split] = labelled_from(documents[split], params.source)
        tokens[split] = heads.encode(tokenizer, texts[split], params.context)
    end, padding = access.end_of_text(tokenizer), access.padding(tokenizer)
    cut = heads.full(tokens["train"], end)
    note(
        stage,
        "classifier.cut",
        cut,
        len(texts["train"]),
        "texts fill finetune.classifier.context: the rest of them is not read",
    )
    train_labels_N = torch.tensor(labels["train"])

    def batch_at(step: int) -> engine.Batch:
        indices = sample_indices(step, params.training.batch, len(train_labels_N), seed, params.source)
        rows = torch.from_numpy(indices)
        return classifier.batch(tokens["train"], train_labels_N, rows, padding, end)

    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    curves: dict[str, Curve] = {}
    accuracy: dict[str, dict[str, float]] = {}
    for name, trunk in (("classifier", base), ("classifier-scratch", causal.build(base.config, seed=seed))):
        network = heads.on_trunk(trunk, labels=2, seed=seed)
        objective = classifier.Classify(network, params.language_model_weight)
        curves[name] = engine.train(objective, batch_at, params.training, stage.job(name))
        accuracy[name] = {
            split: _accuracy(heads.outputs(network, tokens[split]).argmax(-1).tolist(), labels[split])
            for split in ("validation", "test")
        }
        if name == "classifier":
            engine.save_network(
                network, tokenizer, CLASSIFIER, model_card.text(CLASSIFIER, network, [BASE, DOCUMENTS])
            )
    bayes = naive_bayes(texts["train"], labels["train"])
    accuracy["naive-bayes"] = {
        split: _accuracy(bayes.predict(texts[split]).tolist(), labels[split])
        for split in ("validation", "test")
    }
    return curves, accuracy


def _accuracy(predicted: list[int], labels: list[int]) -> float:
    return sum(a == b for a, b in zip(predicted, labels, strict=True)) / len(labels)


if __name__ == "__main__":
    run_stage("finetune", finetune, parallel=True)
