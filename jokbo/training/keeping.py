"""Which weights a training ends with: the last ones, or those whose loss on validation batches was lowest (`keep`).

The best weights so far are part of every checkpoint, with the step and the loss that they are of. So a training that
was killed ends with the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import deepspeed
import torch
from torch import Tensor, nn

from jokbo.training import processes
from jokbo.training.loop import Row, State

if TYPE_CHECKING:
    from jokbo.params import KeepBest, Training

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Best:
    """The weights of the lowest validation loss so far, kept in the state of the training."""

    objective: nn.Module
    batch_at: Callable[[int], Batch]  # of the validation data
    keep: KeepBest
    settings: Training
    micro_batch: int

    def after(self, step: int, state: State) -> Row:
        """Return the validation loss after this step, if it is measured there; keep the weights if it is the lowest."""
        if step % self.keep.every and step != self.settings.steps:
            return {}
        loss = self._loss()
        if "best" not in state.values or loss < state.values["best"]["loss"]:
            state.values["best"] = {"step": step, "loss": loss}
            learned = (name for name, each in self.objective.named_parameters() if each.requires_grad)
            state.kept = whole(self.objective, set(learned))
        return {"validation_loss": loss}

    @torch.no_grad()
    def _loss(self) -> float:
        """Return the mean loss, nats, which every rank computes alike. Dropout is off."""
        self.objective.eval()
        losses: list[float] = []
        for number in range(self.keep.batches):
            for rows in _parts(self.batch_at(number), self.micro_batch):
                with processes.autocast(self.settings.precision):
                    losses.append(self.objective(**rows)[0].item())
        self.objective.train()
        return sum(losses) / len(losses)

    @torch.no_grad()
    def put_back(self, state: State) -> None:
        """Give the objective, whose parameters are whole, the weights that were best."""
        for name, parameter in self.objective.named_parameters():
            if name in state.kept:
                parameter.data.copy_(state.kept[name])


def whole(objective: nn.Module, names: set[str] | None = None) -> dict[str, Tensor]:
    """Return copies of the parameters of these names, or of all, whole under ZeRO 3 too. Every rank calls it."""
    found: dict[str, Tensor] = {}
    for name, parameter in objective.named_parameters():
        if names is None or name in names:
            with deepspeed.zero.GatheredParameters([parameter], enabled=hasattr(parameter, "ds_id")):
                found[name] = parameter.data.detach().clone()
    return found


def _parts(batch: Batch, micro_batch: int) -> Iterator[Batch]:
    """Yield the batch in parts of so many rows, or whole."""
    count = len(next(iter(batch.values())))
    for first in range(0, count, micro_batch or count):
        rows = slice(first, first + (micro_batch or count))
        yield {key: value[rows].to(processes.device()) for key, value in batch.items()}
