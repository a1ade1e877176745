"""Ranks on several hosts: that they are about to do the same work, and see each other's checkpoints.

A checkpoint is in parts that every rank writes and rank 0 seals. So all hosts must see the folder that it is in.
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import writing
from jokbo.training import processes


@dataclass(frozen=True)
class _View:
    """What one rank sees from its host."""

    host: str
    work: Mapping[str, str]
    sees: bool  # a file that rank 0 has made


def check(work: Mapping[str, str], folder: Path) -> None:
    """Raise InputError, on every rank, if one of them would do other work, or does not see the same folder.

    `work` are all things that the work depends on, by name. Every rank calls this.
    """
    processes.join()
    name = [f".seen-{uuid.uuid4().hex}"]
    dist.broadcast_object_list(name)
    mark = folder / name[0]
    if processes.rank() == 0:
        with writing(mark):
            folder.mkdir(parents=True, exist_ok=True)
            mark.touch()
    processes.meet()
    views: list[_View | None] = [None] * processes.world()
    dist.all_gather_object(views, _View(platform.node(), work, mark.exists()))
    if processes.rank() == 0:
        mark.unlink()
    first, *others = filter(None, views)
    for number, view in enumerate(others, 1):
        _compare(first, view, number, folder)


def _compare(first: _View, other: _View, rank: int, folder: Path) -> None:
    where = f"rank {rank}, on host {other.host}"
    for name in {**first.work, **other.work}:
        if first.work.get(name) != other.work.get(name):
            raise InputError(
                f"{name} is another for {where} than for rank 0, on host {first.host}: bring both to the same commit "
                "(`git pull`), data (`dvc pull`) and packages (`make`)"
            )
    if not other.sees:
        raise InputError(
            f"{folder.resolve()}: {where}, does not see what rank 0, on host {first.host}, writes there: put the "
            "project, or its .jokbo, on a file system that all hosts share"
        )
