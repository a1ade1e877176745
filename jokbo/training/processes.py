"""Which process this is among those that train together, and the device it computes on."""

from __future__ import annotations

import os

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator


def join() -> None:
    """Joins the ranks that the launcher started; alone, makes a group of one that opens no port."""
    if dist.is_initialized():
        return
    accelerator = get_accelerator()
    if "RANK" not in os.environ:
        backend = "gloo" if accelerator.device_name() == "cpu" else accelerator.communication_backend_name()
        os.environ["LOCAL_RANK"] = "0"  # DeepSpeed reads it
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        deepspeed.init_distributed(dist_backend=backend, verbose=False)
    else:
        backend = "gloo" if accelerator.device_name() == "cpu" else accelerator.communication_backend_name()
        deepspeed.init_distributed(dist_backend=backend, verbose=False)
    if accelerator.device_name() != "cpu":
        accelerator.set_device(int(os.environ["LOCAL_RANK"]))


def device() -> torch.device:
    return torch.device(get_accelerator().current_device_name())


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def any_rank(flag: bool) -> bool:
    """Whether the flag is raised on any rank: all of them then take the same branch."""
    if world() == 1:
        return flag
    raised = torch.tensor(float(flag), device=device())
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return bool(raised.item())
