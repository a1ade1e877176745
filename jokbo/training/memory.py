"""The memory that a training will take: told in a line before it begins, and refused where there is not as much.

Weights and the optimizer's state are counted. What forward and backward hold is found by one pass of the objective
itself over fake tensors (torch's FakeTensorMode), which have shapes but no numbers. So whatever the objective computes
is in it: logits, attention, adapters, a teacher.

What is counted is what tensors take at the worst moment. A process on a CPU takes more than its tensors: `in_process`
adds that. A compiled network takes less.
"""

from __future__ import annotations

import copy
import ctypes
import platform
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from jokbo.runtime import room
from jokbo.runtime.errors import InputError
from jokbo.training import activations, engine, processes
from jokbo.training.optimizers import hidden_matrices

if TYPE_CHECKING:
    from jokbo.params import Compute, Method, Optimizer, Training
    from jokbo.training.job import Job

# what a process on a CPU takes for a byte that is freed in each step: glibc cannot use all of its gaps again
HEAP = 1.5
BUCKET = 4 * 500_000_000  # bytes of gradients that DeepSpeed hands on at once, by its defaults
LOOKED_AT = 64  # batches among which the largest is looked for
Copied = TypeVar("Copied")


@dataclass(frozen=True)
class Need:
    """Bytes that a training takes in one process."""

    weights: int
    optimizer: int  # its state, and under ZeRO its own copy of what it trains
    activations: int  # gradients among them
    offloaded: int = 0  # what lies in the machine's own memory, where training is on an accelerator

    @property
    def total(self) -> int:
        return self.weights + self.optimizer + self.activations + self.offloaded


def check(
    objective: nn.Module,
    batch_at: Callable[[int], engine.Batch],
    settings: Training,
    job: Job,
    beside: Sequence[nn.Module] = (),
) -> Need:
    """Say what memory the training will take, and return it. Raises InputError if there is not as much.

    The arguments are those of `engine.train`. `beside` are networks that the objective reads and that are no part of
    it, such as a teacher.
    """
    processes.join()
    batch = largest(batch_at, settings.steps)
    need = in_process(of_training(objective, batch, settings, job.compute, beside))
    tell(job, need, [objective, *beside], settings.method)
    return need


def largest(batch_at: Callable[[int], engine.Batch], steps: int) -> engine.Batch:
    """Return the largest of the first batches: where rows of like length go together, some are longer than others."""
    first = map(batch_at, range(min(steps, LOOKED_AT)))
    return max(first, key=lambda batch: sum(value.numel() for value in batch.values()))


def of_training(
    objective: nn.Module,
    batch: engine.Batch,
    settings: Training,
    compute: Compute,
    beside: Sequence[nn.Module] = (),
) -> Need:
    """Return what a training of the objective by such batches takes."""
    rows = len(next(iter(batch.values()))) // processes.world()
    micro_batch = {key: value[: compute.micro_batch or rows] for key, value in batch.items()}
    fake, others = faked((objective, [*beside]), [objective, *beside])
    with torch.random.fork_rng(), activations.recomputed([fake], compute):
        saved, unpacked = _adapted(fake, settings.method)
        fake.train()
        used = Passes(settings.precision, [fake, *others]).peak(lambda: fake(**micro_batch)[0]) + unpacked
    need = of_engine(fake, settings.optimizer, used, compute, several=0 < compute.micro_batch < rows)
    kept = _bytes(_learned(fake)) if settings.keep.kind == "best" else 0
    return replace(need, weights=need.weights + held([fake, *others]) - saved + kept)


def _adapted(fake: nn.Module, method: Method) -> tuple[int, int]:
    """Put on the copy the adapters that it will learn by. Return the bytes that holding layers in 4 bits saves, and
    those of the largest of them as it is computed with: bitsandbytes takes no fake tensors.
    """
    if method.kind == "full":
        return 0, 0
    from jokbo.training import adapters  # peft takes seconds to import

    network = next(each for each in fake.modules() if isinstance(each, PreTrainedModel))
    layers: list[Any] = list(adapters.layers(network).values())
    adapters.put_on(network, method, 0)
    if method.kind == "lora":
        return 0, 0
    sizes = [layer.weight.nbytes for layer in layers]
    return sum(sizes) * 7 // 8, max(sizes)


def of_engine(
    objective: nn.Module, optimizer: Optimizer, used: int, compute: Compute, *, several: bool
) -> Need:
    """Return what an engine adds to the weights that it trains, if one pass of its objective has used so much.

    several: whether a step has several micro-batches, so that gradients are there from the first one on.
    """
    learned, world, stage = _bytes(_learned(objective)), processes.world(), compute.zero_stage
    on_their_way = min(learned, BUCKET) if stage or world > 1 else 0  # a copy of gradients
    activations = max(used + (learned if several else 0), learned + on_their_way)
    state = _state(objective, optimizer)
    if not stage:
        return Need(0, state, activations)
    part = learned // world  # of the weights in the optimizer's own copy, and of the gradients that it reads
    shared = part if stage == 3 else 0  # of the weights that ZeRO shares out
    if compute.offload == "none":
        return Need(shared, state // world + part, activations + part)
    # with gradients as they come beside those that it reads; below stage 3 also with a buffer for new weights
    moved = state // world + 3 * part + (part if stage < 3 else 0)
    if compute.offload == "optimizer":
        return Need(shared, 0, activations, moved)
    return Need(0, 0, activations, moved + shared)


def _state(objective: nn.Module, settings: Optimizer) -> int:
    """Return the bytes of the optimizer's state: two numbers a weight, or with Muon one of a hidden matrix."""
    muon = hidden_matrices(objective) if settings.name == "muon" else set[int]()
    return sum(each.nbytes * (1 if id(each) in muon else 2) for each in _learned(objective))


def _learned(objective: nn.Module) -> Iterator[Tensor]:
    return (each for each in objective.parameters() if each.requires_grad)


def held(modules: Iterable[nn.Module], device: torch.device | None = None) -> int:
    """Return the bytes of all weights of the modules, each once; or of those on a device."""
    found = (each for module in modules for each in (*module.parameters(), *module.buffers()))
    unique = {id(each): each for each in found if device is None or each.device.type == device.type}
    return _bytes(unique.values())


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(each.nbytes for each in tensors)


def faked(given: Copied, modules: Iterable[nn.Module]) -> Copied:
    """Return a copy of modules, or of what holds them, whose weights take no memory.

    Weights in 4 bits stay the same ones: bitsandbytes cannot copy them so, and they are small.
    """
    packed = {
        id(each): each for module in modules for each in module.parameters() if not each.is_floating_point()
    }
    with FakeCopyMode(FakeTensorMode(allow_non_fake_inputs=True)):
        return copy.deepcopy(given, dict(packed))


@dataclass(frozen=True)
class Passes:
    """Passes through fake networks, as a training of that precision does them."""

    precision: str
    modules: Sequence[nn.Module]  # all that are there

    def __post_init__(self) -> None:
        for network in (each for module in self.modules for each in module.modules()):
            if isinstance(network, PreTrainedModel):
                engine.prefer_attention(network)

    def peak(self, forward: Callable[[], Tensor | None], there: Sequence[Tensor] = ()) -> int:
        """Return the most bytes that forward holds at once, and backward from the loss that it gives, if it gives one,
        beside the weights and the tensors that are `there` before."""
        weights = (each for module in self.modules for each in (*module.parameters(), *module.buffers()))
        count = Count([*weights, *there])
        with count:
            with torch.autocast("cpu", torch.bfloat16, enabled=processes.computed(self.precision) == "bf16"):
                loss = forward()
            if loss is not None:
                loss.backward()
        return count.peak


class Count(TorchDispatchMode):
    """Within it, the bytes of tensors that operations make are counted for as long as those are there."""

    def __init__(self, there: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0  # bytes
        self.there = [each.untyped_storage() for each in there]  # what is not counted
        self.known = {id(each) for each in self.there}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **kwargs or {})
        for each in tree_leaves(made):
            if isinstance(each, Tensor) and id(storage := each.untyped_storage()) not in self.known:
                self.known.add(id(storage))
                weakref.finalize(storage, self._gone, id(storage), storage.nbytes())
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
        return made

    def _gone(self, number: int, size: int) -> None:
        self.known.discard(number)
        self.now -= size


def in_process(need: Need) -> Need:
    """Return what the process takes for what its tensors need."""
    if processes.accelerator().device_name() != "cpu":
        return need
    parts = ("optimizer", "activations", "offloaded")
    return replace(need, **{name: round(HEAP * getattr(need, name)) for name in parts})


def tell(job: Job, need: Need, loaded: Iterable[nn.Module], method: Method) -> None:
    """Say what a training takes of what there is, for all ranks that share it; `loaded` are networks that are there.

    Raises InputError, on every rank, if it is more.
    """
    on_cpu = processes.accelerator().device_name() == "cpu"
    sharing = _on_this_machine() if on_cpu else 1
    there = processes.largest(held(loaded, processes.device()))
    processes.meet()  # all have loaded theirs
    space = -processes.largest(-available()) + sharing * there
    takes = sharing * (need.total if on_cpu else need.total - need.offloaded)
    if processes.largest(takes) > space:  # hosts may have unlike numbers of ranks
        raise InputError(
            f"{job.name}: it would take about {takes / 1e9:,.1f} GB of memory, and there are {space / 1e9:,.1f} GB: "
            f"{_advice(need, method, job.compute)}"
        )
    beside = _offloaded(job, need, on_cpu) if need.offloaded else ""
    if processes.rank() == 0:
        unit, size, digits = ("GB", 1e9, 1) if takes >= 1e9 else ("MB", 1e6, 0)
        parts = {"weights": need.weights, "optimizer": need.optimizer, "activations": need.activations}
        shown = ", ".join(f"{name} {sharing * part / size:,.{digits}f}" for name, part in parts.items())
        whole = f"{takes / size:,.{digits}f} {unit} of {space / 1e9:,.1f} GB"
        print(f"{job.name}: memory: about {whole}: {shown}{beside}", flush=True)


def _offloaded(job: Job, need: Need, on_cpu: bool) -> str:
    """Return what to say of what is offloaded. Raises InputError, on every rank, if the machine has less memory."""
    takes = _on_this_machine() * need.offloaded
    if on_cpu:
        return (
            f", offloaded {takes / 1e9:,.1f} GB (compute.offload saves nothing here: there is no accelerator)"
        )
    space = -processes.largest(-room.left())
    if takes > space:
        raise InputError(
            f"{job.name}: compute.offload would take about {takes / 1e9:,.1f} GB of the machine's own memory, and "
            f"there are {space / 1e9:,.1f} GB: set it to none, method.kind to lora, or take a smaller model"
        )
    return f"; of the machine's own about {takes / 1e9:,.1f} GB of {space / 1e9:,.1f} GB: offloaded"


def _on_this_machine() -> int:
    """Return how many ranks run on this one's machine, itself among them."""
    if processes.world() == 1:
        return 1
    machines = [""] * processes.world()
    dist.all_gather_object(machines, platform.node())
    return machines.count(platform.node())


def _advice(need: Need, method: Method, compute: Compute) -> str:
    """Return what to change where memory is short, by what takes most of it."""
    if need.activations > need.weights + need.optimizer:
        now = compute.micro_batch or "0, the whole batch"
        again = (
            "" if compute.activation_checkpointing else ", or set compute.activation_checkpointing to true"
        )
        return f"most of it are activations; lower compute.micro_batch (now {now}) or the context{again}"
    if method.kind == "full":
        more = ", compute.zero_stage to 3" if compute.processes > 1 and compute.zero_stage < 3 else ""
        if compute.offload == "none" and processes.accelerator().device_name() != "cpu":
            more += ", compute.offload to optimizer"
        return f"most of it are weights and optimizer; set method.kind to lora{more}, or take a smaller model"
    packed = ", or set method.kind to qlora" if method.kind == "lora" else ""
    return f"most of it are weights; take a smaller model{packed}"


def available() -> int:
    """Return the bytes that are left on the device that this process trains on; what the process keeps there of a
    training before, and does not use, is given back first."""
    if processes.accelerator().device_name() == "cpu":
        if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)
        return room.left()
    device = get_accelerator()
    assert device is not None
    device.empty_cache()
    return int(device.available_memory())
