"""One training loop over a DeepSpeed engine, for every stage that trains one model with gradients.

What is fixed here: the global batch of a step is a function of (seed, step), whatever the number of ranks; a
checkpoint is taken at a step's end and holds all that the next step needs; SIGTERM saves and stops. So a run that
was killed and started again ends with the same weights, bit for bit, as one that was not.
"""

from __future__ import annotations

import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel, get_wsd_schedule

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import whole_directory
from jokbo.runtime.interruption import Interrupted, Stop, polled
from jokbo.runtime.progress import Progress
from jokbo.training import checkpoints, processes
from jokbo.training.optimizers import optimizer_for

if TYPE_CHECKING:
    from jokbo.params import Compute, Optimizer, Training
    from jokbo.runtime.tracking import Run

Batch = dict[str, Tensor]
Schedule = Callable[[torch.optim.Optimizer], LRScheduler]
LOT_BYTES = 2**21  # of batches that are made at a time
COMPILE_FROM_STEPS = 500  # below this a compilation, some 20 s on two cores, costs more than it saves


def train(
    objective: nn.Module,
    batch_at: Callable[[int], Batch],
    settings: Training,
    compute: Compute,
    *,
    seed: int,
    checkpoint_folder: Path | None,
    run: Run,
    name: str,
    optimizer: torch.optim.Optimizer | None = None,
    schedule: Schedule | None = None,
    compiled: bool | None = None,
    after_step: Callable[[int], None] | None = None,
) -> list[dict[str, float]]:
    """Trains `objective` in place for `settings.steps` steps; returns the row of metrics of each step.

    `objective(**batch)` gives (mean loss of its rows, {metric: scalar}); `batch_at(step)` gives the global batch,
    tensors whose first axis is its rows, and is called ahead of its step, in another thread. Every rank asks for the
    same batch and trains on its own rows of it. A batch may have other than `settings.batch` rows, as where the batch
    grows. Metrics are logged as `name/loss` ...
    `optimizer` and `schedule` stand in for those of the settings; `compiled`, if given, for the rule by the number of
    steps; `after_step` is called with the number of steps done after each. Without a checkpoint folder nothing is
    saved: for trainings of seconds, which a stop loses.

    Raises Interrupted after SIGTERM, with a checkpoint of the last whole step on disk; InputError at the first loss,
    gradient or weight that is not a finite number, and saves nothing then.
    """
    processes.join()
    torch.manual_seed(seed + processes.rank())  # dropout differs between ranks, and is restored with them
    engine = start(
        objective,
        batch=settings.batch,
        precision=settings.precision,
        optimizer=optimizer or settings.optimizer,
        gradient_clip=settings.gradient_clip,
        compute=compute,
        schedule=schedule or trapezoid(settings),
        compiled=settings.steps >= COMPILE_FROM_STEPS if compiled is None else compiled,
    )
    done, state = checkpoints.restore(checkpoint_folder, {"model": engine}) if checkpoint_folder else (0, {})
    history: list[dict[str, float]] = state.get("history", [])
    saver = Saver(name, checkpoint_folder, {"model": engine}, run, compute.checkpoint_seconds)
    objective.train()
    with (
        polled() as stop,
        Progress(name, settings.steps, done=done, writes=checkpoint_folder) as progress,
        closing(ahead(batch_at, range(done, settings.steps))) as batches,
    ):
        for step, batch in enumerate(batches, start=done + 1):
            _fit_to(engine, len(next(iter(batch.values()))), compute.micro_batch)
            row = update(engine, batch)
            check_finite(name, step, row)
            history.append({"step": step, **row})
            run.log({f"{name}/{key}": value for key, value in row.items()}, step=step)
            progress.advance(loss=row["loss"])
            if after_step:
                after_step(step)
            saver.step_done(step, {"history": history}, last=step == settings.steps, stopping=stop.requested)
        saver.check_no_stop(stop)  # while the last checkpoint was written
    _gather(engine, objective)
    engine.destroy()
    return history


def ahead(
    batch_at: Callable[[int], Batch], steps: range, *, beside: bool | None = None
) -> Generator[Batch, None, None]:
    """The batch of each step, made before it is asked for. What `batch_at` raises comes at its step.

    Small batches are made many at a time, as caches are shared with the training: one before each step cost twice as
    much. At most two such lots are held, or two batches where they are large. They are made `beside` the training, in
    a thread, or in its pauses; the rule is `beside_training`.
    """
    if beside is None:
        beside = beside_training()
    maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
    asked, coming, lot = (maker.submit(batch_at, step) for step in steps), deque(), 2
    try:
        for _ in steps:
            if len(coming) <= lot:
                coming.extend(islice(asked, lot))
                if not beside:
                    wait(coming)
            batch = coming.popleft().result()
            lot = max(1, LOT_BYTES // sum(value.nbytes for value in batch.values()))
            yield batch
    finally:
        maker.shutdown(cancel_futures=True)


def beside_training() -> bool:
    """Whether batches are made while the training goes on: not on a CPU, where no processor is idle for it, and it
    cost more than making them in the training's pauses."""
    return get_accelerator().device_name() != "cpu"


class Saver:
    """Checkpoints at the end of a step: when one is due, at the last step, and before a stop."""

    def __init__(
        self,
        name: str,
        folder: Path | None,
        engines: dict[str, deepspeed.DeepSpeedEngine],
        run: Run,
        least_seconds: float,
    ) -> None:
        self.name, self.folder, self.engines = name, folder, engines
        self.run, self.least_seconds = run, least_seconds
        self.saved_at = time.monotonic()

    def step_done(self, step: int, state: dict[str, Any], *, last: bool, stopping: bool) -> None:
        """Called by every rank after each step. Raises Interrupted, once saved, if any rank was told to stop, and
        InputError instead of saving weights that are not finite."""
        stopping = processes.any_rank(stopping)
        due = processes.any_rank(time.monotonic() - self.saved_at >= self.least_seconds)
        saves = self.folder and (last or stopping or due)
        if last or saves:
            check_weights(self.name, step, self.engines)
        if saves:
            self.run.flush()  # first, so that a resume from here has nothing before it to log again
            checkpoints.save(self.folder, step, self.engines, state)
            self.saved_at = time.monotonic()
        if stopping:
            saved = f"saved at step {step}" if self.folder else "nothing to save"
            raise Interrupted(f"{saved}: run again to go on from there")

    def check_no_stop(self, stop: Stop) -> None:
        """Raises Interrupted if any rank was told to stop after the last step."""
        if processes.any_rank(stop.requested):
            raise Interrupted(f"{self.name} is trained: run again to go on from there")


def check_finite(name: str, step: int, row: dict[str, float]) -> None:
    """Raises InputError if a loss or the gradient of this step of the training is not a finite number."""
    for key, value in row.items():
        if (key.endswith("loss") or key == "gradient_norm") and not math.isfinite(value):
            raise _diverged(name, f"{key} is {value} at step {step}")


def check_weights(name: str, step: int, engines: dict[str, deepspeed.DeepSpeedEngine]) -> None:
    """Raises InputError if this step has left a weight that is not a finite number, which no loss before it tells."""
    # under ZeRO 3 those that this rank holds
    held = (
        getattr(parameter, "ds_tensor", parameter)
        for engine in engines.values()
        for parameter in engine.module.parameters()
    )
    if processes.any_rank(not all(bool(weights.isfinite().all()) for weights in held)):
        raise _diverged(name, f"the weights are not finite after step {step}")


def _diverged(name: str, found: str) -> InputError:
    return InputError(
        f"{name}: {found}: lower the learning rate of this training in params.yaml (or raise its warmup_steps, or set "
        "its precision to fp32)"
    )


def start(
    objective: nn.Module,
    *,
    batch: int,
    precision: str,
    optimizer: Optimizer | torch.optim.Optimizer,
    gradient_clip: float,
    compute: Compute,
    schedule: Schedule | None = None,
    compiled: bool = False,
) -> deepspeed.DeepSpeedEngine:
    """A DeepSpeed engine over `objective`: ZeRO stage, precision, optimizer, schedule, clipping, micro-batches. Raises
    InputError if ranks and micro-batches cannot share the batch."""
    _check_share(batch, compute.micro_batch)
    for module in objective.modules():
        if isinstance(module, PreTrainedModel):
            prefer_attention(module)
    if not isinstance(optimizer, torch.optim.Optimizer):
        optimizer = optimizer_for(objective, optimizer)
    # DeepSpeed compiles Muon's update by itself
    torch.compiler.set_stance("default" if compute.compile and can_compile() else "force_eager")
    engine, *_ = deepspeed.initialize(
        model=objective,
        optimizer=optimizer,
        lr_scheduler=schedule,
        config={
            "train_batch_size": batch,
            "train_micro_batch_size_per_gpu": compute.micro_batch or batch // processes.world(),
            "gradient_clipping": gradient_clip,
            # ZeRO 3 needs whole gradients for Muon
            "zero_optimization": {
                "stage": compute.zero_stage,
                "reduce_scatter": not isinstance(optimizer, MuonWithAuxAdam),
            },
            "zero_allow_untested_optimizer": True,
            "torch_autocast": {"enabled": precision == "bf16", "dtype": "bfloat16"},
            "steps_per_print": 10**9,
        },
    )
    engine.checkpoint_engine = checkpoints.PlainCheckpointEngine()
    if compiled:
        engine.compile()
    return engine


def prefer_attention(network: PreTrainedModel) -> None:
    """On a CPU, attention as plain products: going backward through torch's fused kernel for CPUs took ten times as
    long as forward, a fifth of a whole training step."""
    if get_accelerator().device_name() == "cpu":
        network.set_attn_implementation("eager")


def trapezoid(settings: Training) -> Schedule:
    """Learning rate: linear warm-up, level, then linear decay to zero over the last `decay_fraction` of the steps."""
    return lambda optimizer: get_wsd_schedule(
        optimizer,
        num_warmup_steps=settings.warmup_steps,
        num_decay_steps=max(1, round(settings.decay_fraction * (settings.steps - settings.warmup_steps))),
        num_training_steps=settings.steps,
        decay_type="linear",
    )


def can_compile() -> bool:
    """torch.compile needs a C++ compiler where it makes code for the CPU."""
    return get_accelerator().device_name() != "cpu" or bool(shutil.which("g++") or shutil.which("clang++"))


def update(engine: deepspeed.DeepSpeedEngine, batch: Batch) -> dict[str, float]:
    """One optimizer step on this rank's rows of the global batch; the metrics' means over all ranks."""
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
                each.grad for each in engine.module.parameters() if each.grad is not None
            )
        engine.step()
        parts.append({"loss": loss.detach().float(), **metrics})
    means = {key: torch.stack([part[key] for part in parts]).mean() for key in parts[0]}
    if processes.world() > 1:
        for value in means.values():
            dist.all_reduce(value, op=dist.ReduceOp.SUM)
            value /= processes.world()
    row = {key: value.item() for key, value in means.items()}
    norm = float(engine.get_global_grad_norm() if plain_norm is None else plain_norm)
    # under ZeRO with Muon DeepSpeed knows the norm of Muon's update alone; one that is not finite has skipped the step
    if (
        plain_norm is not None
        or not isinstance(engine.client_optimizer, MuonWithAuxAdam)
        or not math.isfinite(norm)
    ):
        row["gradient_norm"] = norm  # over all ranks and micro-batches, before clipping
    row["learning_rate"] = learning_rate
    return row


def _fit_to(engine: deepspeed.DeepSpeedEngine, rows: int, micro_batch: int) -> None:
    """Takes a global batch of so many rows: in more micro-batches, or whole where there are none. Raises InputError if
    ranks and micro-batches cannot share them."""
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
    """After ZeRO 3, gives every rank the whole parameters back as plain ones."""
    if engine.zero_optimization_stage() < 3:
        return
    whole: dict[str, Tensor] = {}
    for name, parameter in objective.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter]):
            whole[name] = parameter.data.detach().clone()
    for name, parameter in objective.named_parameters():
        parameter.data = whole[name]


def save_network(network: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    """Writes a model that `AutoModel` and `AutoTokenizer` open: safetensors, configuration, tokenizer. Rank 0 only."""
    if processes.rank() == 0:
        with whole_directory(folder) as whole:
            network.save_pretrained(whole)
            tokenizer.save_pretrained(whole)
    processes.meet()
