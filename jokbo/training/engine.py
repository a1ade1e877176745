"""DeepSpeed engines: what starts one, one step of it, and the training of one model with gradients.

The global batch of a step is a function of (seed, step), whatever the number of ranks.
"""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deepspeed
import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import atomic_write_folder
from jokbo.training import activations, checkpoints, keeping, methods, model_card, offload, processes
from jokbo.training.job import Job
from jokbo.training.loop import Row, loop, restored, trained
from jokbo.training.optimizers import is_muon, optimizer_for
from jokbo.training.schedules import Schedule, trapezoid

if TYPE_CHECKING:
    from jokbo.params import Compute, Optimizer, Training

Batch = dict[str, Tensor]
LOT_BYTES = 2**21  # of batches that are made in one go
COMPILE_FROM_STEPS = 500  # below this a compilation, some 20 s on two cores, costs more than it saves


@dataclass(frozen=True)
class Overrides:
    """What a training brings itself in place of what its settings name. None: what they name."""

    optimizer: torch.optim.Optimizer | None = None
    schedule: Schedule | None = None
    compiled: bool | None = None  # None: by the number of steps
    # returns the batch of each number, of validation data, for keep.kind best
    validation: Callable[[], Callable[[int], Batch]] | None = None


def train(
    objective: nn.Module,
    batch_at: Callable[[int], Batch],
    settings: Training,
    job: Job,
    own: Overrides = Overrides(),
    after_step: Callable[[int], None] | None = None,
) -> list[dict[str, float]]:
    """Train `objective` in place for `settings.steps` steps; return the row of metrics of each step.

    `objective(**batch)` gives (mean loss of its sequences, {metric: scalar}). `batch_at(step)`, counted from 0, gives
    the global batch: tensors whose first axis is its sequences. It is called ahead of its step, in another thread.
    Every rank asks for the same batch and trains on its own share of it. A batch may have another size than
    `settings.batch_size`, as where the batch grows. `after_step` is called with the number of steps done after each.

    Raises as `loop` does.
    """
    processes.join()
    with (
        methods.applied(objective, settings.method, job.seed),
        activations.recomputed([objective], job.compute, job.name),
    ):
        return _train(objective, batch_at, settings, job, own, after_step)


def _train(
    objective: nn.Module,
    batch_at: Callable[[int], Batch],
    settings: Training,
    job: Job,
    own: Overrides,
    after_step: Callable[[int], None] | None,
) -> list[dict[str, float]]:
    torch.manual_seed(job.seed + processes.rank())  # dropout differs between ranks, and is restored with them
    engine = start(
        objective,
        StepSettings(settings.batch_size, settings.precision, settings.gradient_clip),
        own.optimizer or settings.optimizer,
        job.compute,
        own.schedule or trapezoid(settings),
        compiled=settings.steps >= COMPILE_FROM_STEPS if own.compiled is None else own.compiled,
    )
    engines = {"model": engine}
    state = restored(job, engines)
    best = _best(objective, settings, job, own)
    objective.train()
    with closing(ahead(batch_at, range(state.done, settings.steps), beside_training())) as batches:

        def one(step: int) -> Row:
            batch = next(batches)
            state.trail.batch(batch)
            _fit_to(engine, len(next(iter(batch.values()))), job.compute.micro_batch)
            row = update(engine, batch)
            state.trail.loss({"loss": row["loss"]})
            row |= best.after(step, state) if best else {}
            if after_step:
                after_step(step)
            return row

        history = loop(job, engines, state, settings.steps, one, {"loss": "loss"})
    _gather(engine, objective)
    if best:
        best.put_back(state)
    engine.destroy()
    return history


def _best(objective: nn.Module, settings: Training, job: Job, own: Overrides) -> keeping.Best | None:
    """Return what keeps the best weights; None if the last ones are kept. InputError without validation data."""
    if settings.keep.kind == "last":
        return None
    if own.validation is None:
        raise InputError(f"{job.name}: keep.kind is best, but it has no validation data: set it to last")
    return keeping.Best(objective, own.validation(), settings.keep, settings, job.compute.micro_batch)


def ahead(batch_at: Callable[[int], Batch], steps: range, beside: bool) -> Generator[Batch, None, None]:
    """Yield the batch of each step, made before it is asked for. What `batch_at` raises comes at its step.

    Small batches are made many at a time, as caches are shared with the training: one before each step cost twice as
    much. At most twice LOT_BYTES are held, or two batches where they are large. They are made `beside` the training,
    in a thread, or in its pauses.
    """
    maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
    waiting, coming, count = (maker.submit(batch_at, step) for step in steps), deque(), 2
    try:
        for _ in steps:
            if len(coming) <= count:
                coming.extend(islice(waiting, count))
                if not beside:
                    wait(coming)
            batch = coming.popleft().result()
            count = max(1, LOT_BYTES // sum(value.nbytes for value in batch.values()))
            yield batch
    finally:
        maker.shutdown(cancel_futures=True)


def beside_training() -> bool:
    """Return whether batches are made while the training goes on: not on a CPU, where no processor is idle for it, and
    it cost more than making them in the training's pauses.
    """
    return processes.accelerator().device_name() != "cpu"


@dataclass(frozen=True)
class StepSettings:
    """What one step of an engine goes by."""

    batch_size: int  # sequences of the global batch
    precision: str  # fp32 or bf16
    gradient_clip: float  # the norm that gradients are clipped at; 0: none


def start(
    objective: nn.Module,
    settings: StepSettings,
    optimizer: Optimizer | torch.optim.Optimizer,
    compute: Compute,
    schedule: Schedule | None = None,
    *,
    compiled: bool = False,
) -> deepspeed.DeepSpeedEngine:
    """Return a DeepSpeed engine over `objective`: ZeRO stage, precision, optimizer, schedule, clipping, micro-batches.

    Raises InputError if ranks and micro-batches cannot share the batch.
    """
    _check_share(settings.batch_size, compute.micro_batch)
    for module in objective.modules():
        if isinstance(module, PreTrainedModel):
            prefer_attention(module)
    if not isinstance(optimizer, torch.optim.Optimizer):
        optimizer = optimizer_for(objective, optimizer)
    if compiled or is_muon(optimizer):  # DeepSpeed compiles Muon's update by itself
        torch.compiler.set_stance("default" if compute.compile and can_compile() else "force_eager")
    engine, *_ = deepspeed.initialize(
        model=objective,
        optimizer=optimizer,
        lr_scheduler=schedule,  # pyright: ignore[reportArgumentType]  # the name there is of torch before 2.0
        config={
            "train_batch_size": settings.batch_size,
            "train_micro_batch_size_per_gpu": compute.micro_batch or settings.batch_size // processes.world(),
            "gradient_clipping": settings.gradient_clip,
            # ZeRO 3 needs whole gradients for Muon
            "zero_optimization": {
                "stage": compute.zero_stage,
                "reduce_scatter": not is_muon(optimizer),
                **offload.CONFIG[compute.offload],
            },
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,  # torch's own run on a CPU as well, with nothing to compile
            "torch_autocast": {
                "enabled": processes.computed(settings.precision) == "bf16",
                "dtype": "bfloat16",
            },
            "steps_per_print": 10**9,
        },
    )
    plain = checkpoints.PlainCheckpointEngine()
    engine.checkpoint_engine = plain  # pyright: ignore[reportAttributeAccessIssue]  # any CheckpointEngine does
    if compiled:
        engine.compile()
    return engine


def prefer_attention(network: PreTrainedModel) -> None:
    """Compute attention as plain products on a CPU.

    Going backward through torch's fused kernel for CPUs took ten times as long as forward, a fifth of a whole step.
    """
    if processes.accelerator().device_name() == "cpu":
        network.set_attn_implementation("eager")


def can_compile() -> bool:
    """Return whether torch.compile can work: for a CPU it needs a C++ compiler."""
    return processes.accelerator().device_name() != "cpu" or bool(
        shutil.which("g++") or shutil.which("clang++")
    )


def update(engine: deepspeed.DeepSpeedEngine, batch: Batch) -> dict[str, float]:
    """Do one optimizer step on this rank's share of the global batch; return the metrics' means over all ranks."""
    engine.tput_timer.start()
    mine = processes.share_of(batch)
    parts: list[dict[str, Tensor]] = []
    plain_norm: Tensor | None = None
    learning_rate = float(engine.get_lr()[0])  # of this step: the last micro-batch moves the schedule on
    count = engine.gradient_accumulation_steps()
    for micro in range(count):
        # DeepSpeed would count micro-batches from the first step on, as if there were as many in each
        engine.set_gradient_accumulation_boundary(micro == count - 1)
        rows = engine.train_micro_batch_size_per_gpu()
        inputs = {
            key: value[micro * rows : (micro + 1) * rows].to(processes.device(), non_blocking=True)
            for key, value in mine.items()
        }
        loss, metrics = engine(**inputs)
        engine.backward(loss)
        if micro == count - 1 and not engine.zero_optimization_stage():  # whose gradients are gone after it
            plain_norm = nn.utils.get_total_norm(
                each.grad for each in trained(engine).parameters() if each.grad is not None
            )
        engine.step()
        parts.append({"loss": loss.detach().float(), **metrics})
    means = {key: torch.stack([part[key] for part in parts]).mean() for key in parts[0]}
    if processes.world() > 1:
        for value in means.values():
            dist.all_reduce(value, op=dist.ReduceOp.SUM)
            value /= processes.world()
    row = {key: value.item() for key, value in means.items()}
    norm = engine.get_global_grad_norm() if plain_norm is None else plain_norm
    assert norm is not None  # a step has been done
    assert engine.client_optimizer is not None  # `start` gave it one
    norm = float(norm)
    # under ZeRO with Muon DeepSpeed knows the norm of Muon's update alone; one that is not finite has skipped the step
    if plain_norm is not None or not is_muon(engine.client_optimizer) or not math.isfinite(norm):
        row["gradient_norm"] = norm  # over all ranks and micro-batches, before clipping
    row["learning_rate"] = learning_rate
    return row


def _fit_to(engine: deepspeed.DeepSpeedEngine, rows: int, micro_batch: int) -> None:
    """Take a global batch of so many rows: in more micro-batches, or whole where there are none.

    Raises InputError if ranks and micro-batches cannot share them.
    """
    _check_share(rows, micro_batch)
    if micro_batch:
        engine.set_train_batch_size(rows)
    else:
        engine.set_train_micro_batch_size(rows // processes.world())


def _check_share(rows: int, micro_batch: int) -> None:
    share = processes.world() * max(micro_batch, 1)
    if rows % share:
        raise InputError(
            f"a batch of {rows} rows in {processes.world()} processes with compute.micro_batch {micro_batch}: "
            f"it must be a multiple of {share}; set compute.processes to 1 and compute.micro_batch to 0"
        )


def _gather(engine: deepspeed.DeepSpeedEngine, objective: nn.Module) -> None:
    """Give every rank the whole parameters back as plain ones, after ZeRO 3."""
    if engine.zero_optimization_stage() < 3:
        return
    whole = keeping.whole(objective)
    for name, parameter in objective.named_parameters():
        parameter.data = whole[name]


def save_network(
    network: PreTrainedModel,
    tokenizer: Any,
    folder: Path,
    made_from: Sequence[Path],
    base: Path | None = None,
) -> None:
    """Write a model that `AutoModel` and `AutoTokenizer` open, and its card as README.md. Rank 0 alone writes.

    The folder holds safetensors, configuration and tokenizer. `made_from` are the paths of its parents and its data.
    `base` is the saved model that it was before its training, if there is one: an adapter that it was trained by is
    saved beside it, for peft to open on top of that.
    """
    adapter = methods.adapter_of(network)
    if processes.rank() == 0:
        with atomic_write_folder(folder) as whole:
            network.save_pretrained(whole)
            tokenizer.save_pretrained(whole)
            (whole / "README.md").write_text(model_card.text(folder, network, made_from), "utf-8")
            if adapter and base:
                adapter.save(whole / methods.ADAPTER, base)
    processes.meet()
