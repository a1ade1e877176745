"""Tokens a second of jokbo's engine and of transformers' Trainer, on the same GPT, batch and context."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from jokbo import params  # first: it keeps DeepSpeed quiet

import torch  # isort: skip
from torch.utils.data import Dataset
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from benchmarks.gpu.sheet import FOLDER, Sheet, forget_peak, peak_memory
from benchmarks.pretrain import matrix_product_peak, synchronize
from jokbo.models import causal
from jokbo.reporting.tables import DASH, percent
from jokbo.runtime.tracking import Run
from jokbo.training import engine, processes
from jokbo.training.job import Job

HEADER = ["training", "tokens/s", "TFLOP/s", "of the peak", "peak memory, GB"]
WARMING = 8  # steps before the clock starts: compilation among them
RATE, WEIGHT_DECAY, CLIP = 3e-4, 0.1, 1.0


@dataclass(frozen=True)
class Gpt:
    """A GPT-2, and the batches that it is trained on."""

    layers: int
    hidden_size: int
    heads: int
    context: int
    vocabulary: int
    batch_size: int
    steps: int
    side: int  # of the square matrices by which the peak is measured
    dropout: float = 0.0

    def build(self) -> PreTrainedModel:
        return causal.build(causal.gpt2(self, vocabulary=self.vocabulary, end_of_text=0, padding=1), seed=1)

    def tokens(self) -> torch.Tensor:
        """Return int64 [batch, context + 1], drawn at random: what the tokens are takes no time."""
        draw = torch.Generator().manual_seed(1)
        return torch.randint(2, self.vocabulary, (self.batch_size, self.context + 1), generator=draw)


# GPT-2's vocabulary, rounded up to a multiple of 64 as is usual: an odd number of columns is slow to multiply
GPT_124M = Gpt(12, 768, 12, 1024, 50304, batch_size=32, steps=40, side=8192)
SMALL = Gpt(2, 64, 2, 64, 512, batch_size=4, steps=12, side=512)


def gpt(small: bool) -> Gpt:
    return SMALL if small else GPT_124M


class Clock:
    """Seconds a step from the end of step WARMING on."""

    def __init__(self, steps: int) -> None:
        self.steps, self.times = steps, []

    def after(self, step: int) -> None:
        if step in (WARMING, self.steps):
            synchronize()
            self.times.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        begun, ended = self.times
        return (ended - begun) / (self.steps - WARMING)


def jokbo(sheet: Sheet, small: bool) -> None:
    """Measure the engine under each ZeRO stage, and beside it the peak."""
    size, peak = _begun(sheet, small)
    sheet.row("matrix product, bf16", DASH, f"{peak / 1e12:.0f}", percent(1.0), DASH)
    for stage in (0, 1, 2, 3):
        _tried(sheet, f"ZeRO {stage}", size, peak, zero_stage=stage)
    torch.use_deterministic_algorithms(False)
    _tried(sheet, "ZeRO 0, not the same bits each time", size, peak, zero_stage=0)


def room(sheet: Sheet, small: bool) -> None:
    """Measure what makes room on the accelerator: activations made again, and what lies in the machine's own memory."""
    size, peak = _begun(sheet, small)
    _tried(sheet, "ZeRO 0", size, peak, zero_stage=0)
    _tried(sheet, "ZeRO 0, activation checkpointing", size, peak, zero_stage=0, activation_checkpointing=True)
    _tried(sheet, "ZeRO 1, offload: optimizer", size, peak, zero_stage=1, offload="optimizer")
    _tried(sheet, "ZeRO 3, offload: parameters", size, peak, zero_stage=3, offload="parameters")


def _begun(sheet: Sheet, small: bool) -> tuple[Gpt, float]:
    """Return the network of a sheet of the engine, and the peak that its rows are shares of."""
    sheet.header = HEADER
    size = gpt(small)
    processes.join()
    return size, matrix_product_peak(processes.device(), size.side)


def _tried(sheet: Sheet, name: str, size: Gpt, peak: float, **compute: Any) -> None:
    """Add the row of a training with these keys of `compute`."""
    sheet.tried(f"jokbo, {name}", partial(_engine, size, params.load(), peak, **compute))
    gc.collect()  # an engine holds on to its network


def _engine(size: Gpt, settings: params.Params, peak: float, **compute: Any) -> list[str]:
    torch.compiler.reset()
    forget_peak()
    training = params.Training(
        steps=size.steps,
        batch_size=size.batch_size,
        precision="bf16",
        optimizer=params.Optimizer(
            name="adamw",
            learning_rate=RATE,
            adam_learning_rate=RATE,
            betas=[0.9, 0.95],
            weight_decay=WEIGHT_DECAY,
        ),
        warmup_steps=2,
        decay_fraction=0.0,
        gradient_clip=CLIP,
    )
    alone = {"processes": 1, "micro_batch": 0, "compile": True, **compute}
    job = Job("engine", 1, settings.compute.model_copy(update=alone), Run(), None)
    batch = {
        "tokens_BS": size.tokens(),
        "weights_BT": torch.ones(size.batch_size, size.context),
    }
    clock, network = Clock(size.steps), size.build()
    own = engine.Overrides(compiled=True)
    engine.train(causal.NextToken(network), lambda step: batch, training, job, own, clock.after)
    return _cells(size, clock, peak)


def trainer(sheet: Sheet, small: bool) -> None:
    """Measure transformers' Trainer, as it comes: it does not make the same bits each time."""
    sheet.header = HEADER
    size = gpt(small)
    peak = matrix_product_peak(torch.device("cuda" if torch.cuda.is_available() else "cpu"), size.side)
    forget_peak()
    clock = Clock(size.steps)
    arguments = TrainingArguments(
        output_dir=str(FOLDER / "trainer"),
        max_steps=size.steps,
        per_device_train_batch_size=size.batch_size,
        learning_rate=RATE,
        weight_decay=WEIGHT_DECAY,
        adam_beta2=0.95,
        max_grad_norm=CLIP,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        torch_compile=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=1,
    )
    Trainer(size.build(), arguments, train_dataset=Rows(size), callbacks=[Ticks(clock)]).train()
    sheet.row("transformers' Trainer", *_cells(size, clock, peak))


class Rows(Dataset):
    """The same tokens as Trainer takes them."""

    def __init__(self, size: Gpt) -> None:
        self.rows, self.count = size.tokens()[:, 1:], size.steps * size.batch_size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens_T = self.rows[index % len(self.rows)]
        return {"input_ids": tokens_T, "labels": tokens_T}


class Ticks(TrainerCallback):
    """Tells the clock of each step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.clock.after(state.global_step)


def _cells(size: Gpt, clock: Clock, peak: float) -> list[str]:
    """Return a row of HEADER without its name."""
    # a multiply and an add a weight forward, twice that backward; and attention's two products over the context
    flops = 6 * size.build().num_parameters() + 12 * size.layers * size.hidden_size * size.context
    speed = size.batch_size * size.context / clock.seconds
    return [f"{speed:,.0f}", f"{speed * flops / 1e12:.1f}", percent(speed * flops / peak), peak_memory()]
