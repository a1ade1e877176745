"""Fine-tuning of the pretrained model: a policy that continues reviews, and GPT-1's classifier of sentences.

`python -m tasks.finetune`
"""

from __future__ import annotations

import torch
from datasets import load_from_disk
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from jokbo.data.corpus.batches import sample_indices
from jokbo.data.prompts import continuations
from jokbo.data.selection import labelled_from, texts_from
from jokbo.evaluation.baselines import naive_bayes
from jokbo.evaluation.perplexity import answer_perplexity
from jokbo.finetuning import classifier
from jokbo.models import causal as gpt
from jokbo.models import heads
from jokbo.training import engine
from tasks.frame.paths import BASE, CLASSIFIER, DOCUMENTS, POLICY
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage
from tasks.losses import note, note_prompts
from tasks.training import train

Curve = list[dict[str, float]]


def finetune(stage: Stage) -> None:
    documents = load_from_disk(DOCUMENTS)
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    history, policy = _policy(stage, tokenizer, documents)
    curves, accuracy = _classifiers(stage, tokenizer, documents)
    write_curves(stage, {"policy": history, **curves})
    write_metrics(stage, {"policy": policy, "classifier": accuracy})


def _policy(stage: Stage, tokenizer: PreTrainedTokenizerBase, documents: dict) -> tuple[Curve, dict]:
    params, seed = stage.params.policy, stage.params.seed
    data = {
        split: continuations(
            tokenizer,
            texts_from(documents[split], params.sources),
            prompt_tokens=params.prompt_tokens,
            response_tokens=params.response_tokens,
            seed=seed,
            per_text=per_text,
        )
        for split, per_text in (("train", params.sentences_per_review), ("validation", 1))
    }
    note_prompts(stage, data["train"])
    network = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    before = answer_perplexity(network, data["validation"])
    rows, mask_NT = data["train"], data["train"].mask_NT

    def batch_at(step: int) -> engine.Batch:
        indices = sample_indices(step, params.training.batch, len(rows), seed, "continuations of reviews")
        return gpt.training_rows(rows.tokens_NS, mask_NT, torch.from_numpy(indices))

    history = train(stage, gpt.NextTokenWhere(network), batch_at, params.training, part="policy")
    # whoever samples from the policy finds here what it was trained for
    network.config.prompt_tokens = params.prompt_tokens
    network.config.response_tokens = params.response_tokens
    network.config.prompt_sources = params.sources
    engine.save_network(network, tokenizer, POLICY)
    after = answer_perplexity(network, data["validation"])
    return history, {"sequences": len(rows), "before": before, "after": after}


def _classifiers(stage: Stage, tokenizer: PreTrainedTokenizerBase, documents: dict) -> tuple[dict, dict]:
    """The same training from the pretrained network and from random weights, beside naive Bayes."""
    params, seed = stage.params.classifier, stage.params.seed
    texts, labels, tokens = {}, {}, {}
    for split in ("train", "validation", "test"):
        texts[split], labels[split] = labelled_from(documents[split], params.source)
        tokens[split] = heads.encode(tokenizer, texts[split], params.context)
    cut = heads.full(tokens["train"], tokenizer.eos_token_id)
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
        return classifier.batch(
            tokens["train"], train_labels_N, rows, tokenizer.pad_token_id, tokenizer.eos_token_id
        )

    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    curves: dict[str, Curve] = {}
    accuracy: dict[str, dict[str, float]] = {}
    for name, trunk in (("classifier", base), ("classifier-scratch", gpt.build(base.config, seed=seed))):
        network = heads.on_trunk(trunk, labels=2, seed=seed)
        objective = classifier.Classify(network, params.language_model_weight)
        curves[name] = train(stage, objective, batch_at, params.training, part=name)
        accuracy[name] = {
            split: _accuracy(heads.outputs(network, tokens[split]).argmax(-1).tolist(), labels[split])
            for split in ("validation", "test")
        }
        if name == "classifier":
            engine.save_network(network, tokenizer, CLASSIFIER)
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
