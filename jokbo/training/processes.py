"""Which process this is among those that train together, and the device it computes on."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Protocol, cast

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from torch import Tensor

from jokbo.runtime import launcher


def join() -> None:
    """Join the other ranks of this training; alone, make a group of one.

    No port is open but on loopback, unless the ranks are from outside.
    """
    if dist.is_initialized():
        return
    _keep_memory()
    # two runs must give the same bits: compiled for a CPU, the gradient of an embedding is otherwise added up by
    # threads in whatever order they come, and so are several kernels of GPUs
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]  # set in a class
    own = accelerator()
    on_cpu = own.device_name() == "cpu"
    backend = "gloo" if on_cpu else own.communication_backend_name()
    # an all-reduce through shared memory that DeepSpeed would compile for half a minute: gloo has its own
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    launcher.choose_network()
    mine, ranks = launcher.rank(), launcher.world()
    if (meeting := launcher.meeting()) == launcher.OUTSIDE:
        dist.init_process_group(backend, init_method=meeting, rank=mine, world_size=ranks)
    else:
        store = (
            dist.FileStore(meeting, ranks)  # pyright: ignore[reportPrivateImportUsage]  # public by torch's manual
            if meeting
            else dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
        )
        dist.init_process_group(backend, store=store, rank=mine, world_size=ranks)
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    if on_cpu:
        has = multiplies_bf16()
        own.is_bf16_supported = lambda: has  # DeepSpeed's Muon asks it, and it says yes of every CPU
    else:
        own.set_device(int(os.environ["LOCAL_RANK"]))


def _keep_memory() -> None:
    """Have glibc keep what a step frees for the next one: asking the kernel anew costs a page fault for each 4 kB, some
    100,000 a step here.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)


class Accelerator(Protocol):
    """What of DeepSpeed's accelerators is used: their own class, which tells no types, has it all."""

    def device_name(self) -> str: ...
    def current_device_name(self) -> str: ...
    def communication_backend_name(self) -> str: ...
    def set_device(self, device_index: int) -> None: ...
    def get_rng_state(self) -> Tensor: ...
    def set_rng_state(self, new_state: Tensor) -> None: ...
    def is_bf16_supported(self) -> bool: ...


def accelerator() -> Accelerator:
    """Return what DeepSpeed computes on: it always finds one, at least the CPU."""
    return cast(Accelerator, get_accelerator())


def device() -> torch.device:
    return torch.device(accelerator().current_device_name())


@cache
def multiplies_bf16() -> bool:
    """Return whether this machine has a product of bf16 matrices.

    On a CPU that neither has AVX512 nor is an ARM with bf16, torch multiplies them one number after the other, many
    times slower than in fp32.
    """
    own = accelerator()
    if own.device_name() != "cpu":
        return own.is_bf16_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@cache
def computed(precision: str) -> str:
    """Return the precision to compute in: what is asked for, or, as is said, fp32 on a machine without bf16."""
    if precision != "bf16" or multiplies_bf16():
        return precision
    if launcher.rank() == 0:
        print(
            "jokbo: this machine multiplies no matrices in bf16: it computes in fp32",
            file=sys.stderr,
            flush=True,
        )
    return "fp32"


def autocast(precision: str) -> torch.autocast:
    """Return the context in which what is computed outside of an engine has the engine's precision."""
    return torch.autocast(device().type, torch.bfloat16, enabled=computed(precision) == "bf16")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def share_of(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return this rank's rows of a global batch."""
    return {key: value.chunk(world())[rank()] for key, value in batch.items()}


def any_rank(flag: bool) -> bool:
    """Return whether the flag is raised on any rank: all of them then take the same branch."""
    return bool(largest(float(flag)))


def largest(value: float) -> float:
    """Return the largest of all ranks' values, on each of them."""
    if world() == 1:
        return value
    values = torch.tensor(value, dtype=torch.float64, device=device())
    dist.all_reduce(values, op=dist.ReduceOp.MAX)
    return values.item()


def meet() -> None:
    """Wait for all ranks."""
    if world() > 1:
        dist.barrier()
