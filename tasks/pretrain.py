"""Pretraining: next-word prediction on the packed corpus. `python -m tasks.pretrain`"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.data.corpus.batches import Layout, TokenCorpus, efficiency, packed_batch
from jokbo.evaluation.perplexity import check_length, corpus_perplexity
from jokbo.evaluation.results import Pretraining
from jokbo.models import causal
from jokbo.training import engine, memory
from tasks.frame.paths import BASE, START, TOKENIZER, TOKENS
from tasks.frame.records import note, write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Pretrain


def pretrain(stage: Stage[Pretrain]) -> None:
    params = stage.params
    context, training = params.start.context, params.training
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    corpus, validation = (TokenCorpus.open(TOKENS / split) for split in ("train", "validation"))
    check_length(validation, context)
    special_tokens = {"end_of_text": tokenizer.eos_token_id, "padding": tokenizer.pad_token_id}
    if params.start.kind == "scratch":
        config = causal.configuration(params.start, vocabulary=len(tokenizer), **special_tokens)
        network = causal.build(config, seed=params.seed)
    else:
        network = AutoModelForCausalLM.from_pretrained(START, dtype=torch.float32)
    history: list[dict[str, float]] = []
    if training is not None:
        layout = Layout(training.batch_size, context, params.seed, params.packing)

        def batch_at(step: int, read: TokenCorpus = corpus) -> engine.Batch:
            tokens_BS = packed_batch(read, step, layout, tokenizer.pad_token_id)
            return causal.packed_rows(torch.from_numpy(tokens_BS), params.packing, **special_tokens)

        batch_at(0)  # a corpus too small for one batch is found before anything is built
        own = engine.Overrides(validation=lambda: partial(batch_at, read=validation))
        objective = causal.NextToken(network)
        memory.check(objective, batch_at, training, stage.job())
        history = engine.train(objective, batch_at, training, stage.job(), own)
    found = efficiency(corpus, context)
    if params.packing == "padded":
        whole = corpus.total_tokens
        over = whole - round(found["padded"]["kept"] * (whole - 1))
        note(
            stage,
            "beyond_context",
            over,
            whole,
            "tokens stand beyond pretrain.start.context of their document",
        )
    engine.save_network(network, tokenizer, BASE, [START, TOKENS, TOKENIZER], START)
    write_curves(stage, {"pretrain": history})
    measured = Pretraining(
        parameters=network.num_parameters(),
        parameters_without_embeddings=network.num_parameters(exclude_embeddings=True),
        tokens=training.steps * training.batch_size * context if training else 0,
        packing={"used": params.packing, **found},
        validation=corpus_perplexity(
            network, tokenizer, validation, context, masked=params.packing != "joined"
        ),
    )
    write_metrics(stage, measured)


if __name__ == "__main__":
    run_stage("pretrain", pretrain, parallel=True)
