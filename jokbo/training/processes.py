"""Which process this is among those that train together, and the device it computes on."""

from __future__ import annotations

import logging
import os

logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # before its first words, about finding no GPU

import deepspeed  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from deepspeed.accelerator import get_accelerator  # noqa: E402


def join() -> None:
    """Joins the ranks that the launcher started; alone, makes a group of one that opens no port."""
    if dist.is_initialized():
        return
    accelerator = get_accelerator()
    on_cpu = accelerator.device_name() == "cpu"
    backend = "gloo" if on_cpu else accelerator.communication_backend_name()
    # an all-reduce through shared memory that DeepSpeed would compile for half a minute: gloo has its own
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if "RANK" not in os.environ:
        os.environ["LOCAL_RANK"] = "0"  # DeepSpeed reads it
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    if not on_cpu:
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
