"""The trail of a training: 64-bit hashes of its batches, its losses and its weights, by which a rerun is compared with
it step by step.

Batches and losses are hashed at every step, each on top of all steps before it. A mark keeps both, and the hash of the
weights, after some of the steps. A checkpoint holds the trail, so a training that resumes goes on with it, and a step
that is done again is marked once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
import xxhash
from deepspeed import DeepSpeedEngine
from torch import Tensor

from jokbo.training import processes

Mark = list[Any]  # step, hash of the batches, of the losses, of the weights
MARKS = 64  # of a long training
EVERY = 4  # steps from mark to mark at least: hashing the weights takes some milliseconds
WORDS = 2**22  # elements that an accelerator hashes at once


class Trail:
    """What one training has left so far, kept in what a checkpoint holds of the loop."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._kept = values.setdefault("trail", {"batch": "", "loss": "", "marks": []})

    @property
    def marks(self) -> list[Mark]:
        return self._kept["marks"]

    def batch(self, parts: Mapping[str, Any]) -> None:
        """Hash what a step reads: tensors and numbers by name, the same on all ranks."""
        self._kept["batch"] = _digest(self._kept["batch"], parts)

    def loss(self, parts: Mapping[str, Any]) -> None:
        """Hash what a step's forward pass gave."""
        self._kept["loss"] = _digest(self._kept["loss"], parts)

    def done(self, step: int, steps: int, engines: Mapping[str, DeepSpeedEngine]) -> None:
        """Mark this step, counted from 1, if it is one of those to mark. Every rank calls it."""
        if step <= 2 or step == steps or step % max(EVERY, steps // MARKS) == 0:
            self.marks.append([step, self._kept["batch"], self._kept["loss"], of_weights(engines)])


def of_weights(engines: Mapping[str, DeepSpeedEngine]) -> str:
    """Return the hash of all weights that learn. Every rank calls it, and gets the same."""
    digest, parts = xxhash.xxh3_64(), False
    for engine in engines.values():
        module: Any = engine.module
        for parameter in module.parameters():
            if parameter.requires_grad:
                parts |= hasattr(parameter, "ds_tensor")
                held = _held(parameter).detach()
                digest.update(_bytes(held if held.device.type == "cpu" else folded(held)))
    if parts and processes.world() > 1:
        mine = torch.tensor(digest.intdigest() - 2**63, device=processes.device())
        every = [torch.zeros_like(mine) for _ in range(processes.world())]
        dist.all_gather(every, mine)
        digest = xxhash.xxh3_64(repr([each.item() for each in every]).encode())
    return digest.hexdigest()


def _held(parameter: Any) -> Tensor:
    """Return the weights of a parameter that this rank holds: under ZeRO 3 a part, without what fills it up."""
    if not hasattr(parameter, "ds_tensor"):
        return parameter
    part = parameter.ds_tensor
    return part[: max(0, parameter.ds_numel - processes.rank() * part.numel())]


def folded(tensor: Tensor) -> Tensor:
    """Return a whole number for each WORDS elements of a tensor, computed where it is: an accelerator's weights take
    longer to the CPU than a step does.

    It is a sum modulo 2^64 of the elements' bits, each times a number of its place: the order of adding changes
    nothing.
    """
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    words = _flat(tensor).view(kinds[tensor.element_size()])
    factors = _factors(tensor.device)
    sums = [(part.to(torch.int64) * factors[: len(part)]).sum() for part in words.split(WORDS)]
    return torch.stack(sums).cpu()


@cache
def _factors(device: torch.device) -> Tensor:
    """Return odd numbers, drawn once for all."""
    rng = torch.Generator().manual_seed(0)
    return torch.randint(-(2**63), 2**63 - 1, (WORDS,), generator=rng).bitwise_or(1).to(device)


def _digest(before: str, parts: Mapping[str, Any]) -> str:
    digest = xxhash.xxh3_64(before.encode())
    for name, value in parts.items():
        digest.update(f" {name} ".encode())
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)} ".encode())
            digest.update(_bytes(value.detach().cpu()))
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    return _flat(tensor).view(torch.uint8).numpy()


def _flat(tensor: Tensor) -> Tensor:
    """Return the elements in a row, next to each other in memory; a copy where they are not."""
    flat = tensor.reshape(-1)
    return flat if flat.stride(0) == 1 else flat.clone(memory_format=torch.contiguous_format)
