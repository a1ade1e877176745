"""One run of a sweep: a network of one size, trained through the engine on so many tokens, and what is measured of it.

What stays of a run is its row, FOLDER/row.json. While it trains, FOLDER has its checkpoints and what was measured at
its marks; so a run that is stopped goes on, and comes to the same row.

Shape letters: N sequences, S tokens of each.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from jokbo import params
from jokbo.comparison.budget import flops_of
from jokbo.data.corpus.batches import Layout, TokenCorpus, packed_batch
from jokbo.data.corpus.tokenizer import end_of_text
from jokbo.evaluation.perplexity import check_length, losses
from jokbo.models import causal
from jokbo.runtime.files import read_if_there, write_text
from jokbo.scaling import counting, noise
from jokbo.training import engine
from jokbo.training.job import Job

if TYPE_CHECKING:
    from jokbo.runtime.tracking import Run

Row = dict[str, Any]
ROW, MARKS, CHECKPOINTS = "row.json", "marks.json", "checkpoints"
LEAST_MARK = 5  # steps before which nothing is measured


@dataclass(frozen=True)
class Planned:
    """One run of a sweep, as it is planned."""

    name: str
    size: str  # of scaling.sizes
    steps: int
    learning_rate: float


@dataclass(frozen=True)
class Text:
    """What runs read: the corpora of a text, and its tokenizer."""

    corpora: Path  # a folder a split
    tokenizer: Path  # tokenizer.json

    def open(self, split: str) -> TokenCorpus:
        return TokenCorpus.open(self.corpora / split)

    @property
    def vocabulary(self) -> int:
        return Tokenizer.from_file(str(self.tokenizer)).get_vocab_size()


def network_of(settings: params.Scaling, size: str, vocabulary: int, end: int) -> PreTrainedModel:
    """Return a fresh network of one of the sizes."""
    start = params.Scratch(
        kind="scratch",
        architecture=settings.architecture,
        context=settings.context,
        dropout=0.0,
        **settings.sizes[size].model_dump(),
    )
    config = causal.configuration(start, vocabulary=vocabulary, end_of_text=end, padding=end)
    return causal.build(config, seed=settings.seed)


def trained(planned: Planned, settings: params.ScalingParams, text: Text, folder: Path, run: Run) -> Row:
    """Return the row of a run, trained anew, or gone on with, or as it stands in its folder.

    Raises InputError for a training that diverges, or for too little text; Interrupted after SIGTERM.
    """
    if (row := read_if_there(folder / ROW)) is not None:
        return row
    own, end = settings.scaling, end_of_text(text.tokenizer)
    corpus, held_out = text.open("train"), text.open("validation")
    check_length(held_out, own.context)
    network = network_of(own, planned.size, text.vocabulary, end)
    objective = causal.NextToken(network)

    def batch_at(step: int, seed: int = own.seed) -> engine.Batch:
        layout = Layout(own.batch_size, own.context, seed, "joined")
        tokens_BS = torch.from_numpy(packed_batch(corpus, step, layout, end))
        return causal.packed_rows(tokens_BS, "joined", end_of_text=end, padding=end)

    counted = flops_of(objective, batch_at(0))  # of a step
    measure = _Measure(objective, own, held_out, lambda step: batch_at(step, own.seed + 1))
    seen = _Marks(folder / MARKS, marks(planned.steps, own.marks.count), measure)
    compute = settings.compute.model_copy(update={"processes": 1})
    job = Job(planned.name, own.seed, compute, run, folder / CHECKPOINTS)
    overrides = engine.Overrides(compiled=False)  # which costs more than it saves in runs of so few steps
    engine.train(objective, batch_at, _training(planned, own), job, overrides, seen.after_step)
    tokens = own.batch_size * own.context
    row = {
        "run": planned.name,
        "size": planned.size,
        **own.sizes[planned.size].model_dump(),
        "steps": planned.steps,
        "learning_rate": planned.learning_rate,
        **counting.parameters(network),
        "tokens": planned.steps * tokens,
        "flops": counting.flops(network.num_parameters(), planned.steps * tokens),
        "flops_counted": counted * planned.steps,
        **measure(),
        "marks": [{"tokens": step * tokens, **found} for step, found in sorted(seen.found.items())],
    }
    run.log({key: row[key] for key in ("loss", "flops", "tokens", "parameters")})
    write_text(folder / ROW, json.dumps(row, indent=1) + "\n")
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return row


def marks(steps: int, count: int) -> list[int]:
    """Return the steps after which a run of so many is measured before its end: 1/2, 1/4, ... of them."""
    return [step for power in range(1, count + 1) if (step := steps // 2**power) >= LEAST_MARK]


@dataclass(frozen=True)
class _Measure:
    """Held-out loss, nats a token, and the gradient noise scale, in tokens, of a network as it stands."""

    objective: causal.NextToken
    settings: params.Scaling
    held_out: TokenCorpus
    batch_at: Callable[[int], engine.Batch]  # in another order than that of the training

    def __call__(self) -> Row:
        context, network = self.settings.context, self.objective.network
        count = min(self.settings.held_out_windows, (self.held_out.total_tokens - 1) // context)
        tokens_NS = torch.stack(
            [torch.from_numpy(self.held_out.window(i * context, context + 1)) for i in range(count)]
        )
        found: Row = {"loss": losses(network, tokens_NS).double().mean().item()}
        network.train()
        own = self.settings.marks
        if own.noise_batches:
            batches = (self.batch_at(step) for step in range(own.noise_batches))
            scale = noise.measured(self.objective, batches, own.noise_parts, self.settings.precision).scale
            found["noise_scale"] = scale and scale * context
        return found


class _Marks:
    """What was measured at the marks of a run, kept in a file as it comes, for a run that goes on."""

    def __init__(self, file: Path, steps: list[int], measure: Callable[[], Row]) -> None:
        self.file, self.steps, self.measure = file, steps, measure
        self.found: dict[int, Row] = {int(step): row for step, row in (read_if_there(file) or {}).items()}

    def after_step(self, step: int) -> None:
        if step in self.steps:
            self.found[step] = self.measure()
            write_text(self.file, json.dumps(self.found) + "\n")


def _training(planned: Planned, own: params.Scaling) -> params.Training:
    optimizer = params.Optimizer(
        name="adamw",
        learning_rate=planned.learning_rate,
        adam_learning_rate=planned.learning_rate,
        betas=own.betas,
        weight_decay=own.weight_decay,
    )
    return params.Training(
        steps=planned.steps,
        batch_size=own.batch_size,
        precision=own.precision,
        warmup_steps=min(planned.steps - 1, round(own.warmup_fraction * planned.steps)),
        decay_fraction=own.decay_fraction,
        gradient_clip=own.gradient_clip,
        optimizer=optimizer,
    )
