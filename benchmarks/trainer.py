"""`python -m benchmarks.trainer`: the time that `pretrain` needs to the loss that transformers' Trainer ends at.

Both train the network of params.yaml on data/tokens, on the same cores, in bf16, compiled, with the same attention.
Trainer has AdamW, at the best of RATES, its own schedule, and all the tokens of `pretrain`. The stage's training, with
its own optimizer and schedule, is given ever more of those tokens until it ends at Trainer's loss or below. Time is
that of the whole training, compilation included; the loss is that of held-out text.

Each training leaves its row in .jokbo/benchmarks/trainer, where the next call finds it. Run it on a quiet machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import Dataset
from transformers import AutoTokenizer, PreTrainedModel, Trainer, TrainingArguments

from benchmarks import scratch
from jokbo import params
from jokbo.data.corpus.batches import Layout, TokenCorpus, packed_batch
from jokbo.evaluation.perplexity import corpus_perplexity
from jokbo.models import causal
from jokbo.runtime import tracking
from jokbo.runtime.files import read_if_there, write_text
from jokbo.training import engine, processes
from jokbo.training.job import Job
from tasks.frame.paths import TOKENIZER, TOKENS
from tasks.frame.stage import state

RATES = (0.001, 0.002, 0.004)
SHARES = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0)  # of the tokens


class Windows(Dataset):
    """The corpus as Trainer takes it: sequences of the context's length."""

    def __init__(self, corpus: TokenCorpus, context: int) -> None:
        self.corpus, self.context = corpus, context

    def __len__(self) -> int:
        return (self.corpus.total_tokens - 1) // self.context

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens_S = torch.from_numpy(self.corpus.window(index * self.context, self.context + 1))
        return {"input_ids": tokens_S, "labels": tokens_S}


def main() -> None:
    settings, tokenizer = params.load(), AutoTokenizer.from_pretrained(TOKENIZER)
    folder = state() / "benchmarks" / "trainer"
    theirs = [
        row(folder / f"trainer-{rate:g}.json", partial(trainer, settings, tokenizer, rate)) for rate in RATES
    ]
    goal, ours = min(theirs, key=lambda found: found["nats"]), []
    for share in SHARES:
        ours.append(row(folder / f"jokbo-{share:g}.json", partial(stage, settings, tokenizer, share)))
        if ours[-1]["nats"] <= goal["nats"]:
            break
    table = Table("training", "tokens", "seconds", "tokens/s", "held-out nats")
    for found in (*theirs, *ours):
        speed = f"{found['tokens'] / found['seconds']:,.0f}"
        table.add_row(
            found["name"], f"{found['tokens']:,}", f"{found['seconds']:.0f}", speed, f"{found['nats']:.3f}"
        )
    Console().print(table)
    print(f"Trainer's time to its loss / jokbo's: {goal['seconds'] / ours[-1]['seconds']:.2f}")


def row(path: Path, measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the row that is kept there, made now if there is none."""
    found = read_if_there(path)
    if found is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = measured()
        write_text(path, json.dumps(found) + "\n")
    return found


def special_tokens(tokenizer: Any) -> dict[str, int]:
    return {"end_of_text": tokenizer.eos_token_id, "padding": tokenizer.pad_token_id}


def network(settings: params.Params, tokenizer: Any) -> PreTrainedModel:
    special = special_tokens(tokenizer)
    built = causal.build(
        causal.configuration(scratch.parts(settings)[0], vocabulary=len(tokenizer), **special), seed=1
    )
    engine.prefer_attention(built)
    return built


def trainer(settings: params.Params, tokenizer: Any, rate: float) -> dict[str, Any]:
    """Return the row of transformers' Trainer at this learning rate."""
    (start, training, _), model = scratch.parts(settings), network(settings, tokenizer)
    arguments = TrainingArguments(
        output_dir=str(state() / "benchmarks" / "trainer" / "output"),
        max_steps=training.steps,
        per_device_train_batch_size=training.batch_size,
        learning_rate=rate,
        warmup_steps=training.warmup_steps,
        weight_decay=0.1,
        adam_beta2=0.95,
        bf16=True,
        use_cpu=processes.accelerator().device_name() == "cpu",
        torch_compile=True,
        save_strategy="no",
        report_to="none",
        seed=1,
    )
    windows = Windows(TokenCorpus.open(TOKENS / "train"), start.context)
    began = time.perf_counter()
    Trainer(model, arguments, train_dataset=windows).train()
    return measured(f"Trainer, rate {rate:g}", began, training.steps, model, settings, tokenizer)


def stage(settings: params.Params, tokenizer: Any, share: float) -> dict[str, Any]:
    """Return the row of the stage's training on this share of its tokens."""
    (start, whole, _), model = scratch.parts(settings), network(settings, tokenizer)
    packing = settings.pretrain.packing
    training = whole.model_copy(update={"steps": round(share * whole.steps)})
    corpus = TokenCorpus.open(TOKENS / "train")
    layout = Layout(whole.batch_size, start.context, settings.pretrain.seed, packing)
    special = special_tokens(tokenizer)

    def batch_at(step: int) -> engine.Batch:
        tokens_BS = torch.from_numpy(packed_batch(corpus, step, layout, special["padding"]))
        return causal.packed_rows(tokens_BS, packing, **special)

    job = Job(f"{share:.0%} of the tokens", settings.pretrain.seed, settings.compute, tracking.Run(), None)
    began = time.perf_counter()
    own = engine.Overrides(compiled=True)
    engine.train(causal.NextToken(model), batch_at, training, job, own)
    return measured(f"jokbo, {share:.0%} of the tokens", began, training.steps, model, settings, tokenizer)


def measured(
    name: str, began: float, steps: int, model: PreTrainedModel, settings: params.Params, tokenizer: Any
) -> dict[str, Any]:
    """Return the row of a training that has just ended."""
    seconds, (start, training, _) = time.perf_counter() - began, scratch.parts(settings)
    held_out = TokenCorpus.open(TOKENS / "validation")
    found = corpus_perplexity(
        model, tokenizer, held_out, start.context, masked=settings.pretrain.packing != "joined"
    )
    tokens = steps * training.batch_size * start.context
    return {"name": name, "seconds": seconds, "tokens": tokens, "nats": found.nats_per_token}


if __name__ == "__main__":
    main()
