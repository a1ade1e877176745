"""Whether a system has learned anything of text but how frequent its tokens are: does the context help it?

Of the same targets there are two held-out losses, one with the text's own context and one with another text's in its
place. The rule is one for all systems; which of its three cases holds is told by what a batch has:

    positions in a text What is predicted stands at positions of the sequence that is read (masked tokens, XLNet, MASS).
                        All other tokens are those of the sequence before, of which nothing is hidden. At its own
                        positions a sequence keeps what it shows there.
    a source            an encoder reads one sequence, a decoder writes another: each target is given the source of the
                        row before. What a decoder has written before a token stays, so that the source alone is asked.
    running text        the first half of a row is that of the row before, and the loss is that of the second half's
                        tokens. Of ELMo's two directions it is the one that reads forward.

The first sequence takes the last one's. A system has learned something if its own context lowers the loss by more than
two standard errors, over batches.

Shapes: B sequences, T and S tokens of one, K positions predicted in it.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jokbo.comparison.system import OpenedSystem
from jokbo.training import processes
from jokbo.training.engine import Batch

READ = ("inputs_BT", "hidden_BT", "tokens_BT")  # sequences with positions in them
SOURCES = ("noised_BN", "source_BS", "inputs_BN")
BESIDE = ("segments_BT", "languages_BT", "positions_BT")  # what goes with each token of a sequence
RUNNING = ("tokens_BS", "tokens_BT")


@dataclass(frozen=True)
class Hidden:
    """What is predicted at positions of the sequence that is read."""

    key: str  # of the sequence
    targets_BK: Tensor
    valid_BK: Tensor  # false for what only fills a row up
    where_BT: Tensor  # true at the positions that are predicted


def hidden(batch: Batch) -> Hidden:
    """Return what is predicted in a batch that has positions."""
    key = next(name for name in READ if name in batch)
    positions_BK = batch["positions_BK"]
    targets_BK = batch["targets_BK"] if "targets_BK" in batch else batch.get("fragment_BK")
    if targets_BK is None:  # XLNet's content stream reads the targets themselves
        targets_BK = batch[key].gather(1, positions_BK)
    weights_BK = batch.get("weights_BK")
    valid_BK = torch.ones_like(positions_BK, dtype=torch.bool) if weights_BK is None else weights_BK > 0
    where_BT = torch.zeros_like(batch[key], dtype=torch.bool)
    where_BT[rows_of(positions_BK)[valid_BK], positions_BK[valid_BK]] = True
    return Hidden(key, targets_BK, valid_BK, where_BT)


def rows_of(positions_BK: Tensor) -> Tensor:
    """Return the row of each position, [B, K]."""
    return torch.arange(len(positions_BK), device=positions_BK.device)[:, None].expand_as(positions_BK)


def with_anothers(batch: Batch) -> Batch:
    """Return a batch of the same targets in another text's context."""
    if "positions_BK" in batch:
        found, positions_BK = hidden(batch), batch["positions_BK"]
        whole_BT = batch[found.key].clone()
        whole_BT[rows_of(positions_BK)[found.valid_BK], positions_BK[found.valid_BK]] = found.targets_BK[
            found.valid_BK
        ]
        swapped = {found.key: torch.where(found.where_BT, batch[found.key], whole_BT.roll(1, 0))}
        return {**batch, **{key: batch[key].roll(1, 0) for key in BESIDE if key in batch}, **swapped}
    if source := next((key for key in SOURCES if key in batch), None):
        return {**batch, source: batch[source].roll(1, 0)}
    key = running(batch)
    half = batch[key].shape[1] // 2
    return {**batch, key: torch.cat([batch[key][:, :half].roll(1, 0), batch[key][:, half:]], dim=1)}


def running(batch: Batch) -> str:
    """Return the name of a batch's running text."""
    return next(key for key in RUNNING if key in batch)


@torch.no_grad()
def losses(objective: nn.Module, batch: Batch, metric: str) -> tuple[float, float]:
    """Return the loss of a batch's targets, nats a token, with their own context and with another text's.

    Where the text runs on, that of the second half is what the whole row loses more than its first half alone.
    """
    objective.eval()
    other = with_anothers(batch)
    if "positions_BK" in batch or any(key in batch for key in SOURCES):
        return _loss(objective, batch, metric), _loss(objective, other, metric)
    key = running(batch)
    length = batch[key].shape[1]
    half = length // 2
    first = {key: batch[key][:, :half]}
    if "weights_BT" in batch:
        first["weights_BT"] = batch["weights_BT"][:, : half - 1]
    before = _loss(objective, first, metric) * (half - 1)  # the same whatever comes after it
    own, others = (_loss(objective, each, metric) * (length - 1) - before for each in (batch, other))
    return own / (length - half), others / (length - half)


def of_context(system: OpenedSystem, objective: nn.Module) -> dict[str, float]:
    """Return what context is worth to a system on held-out text: `own` and `other`, nats a token, `gain`, the second
    less the first, and its standard `error` over batches."""
    objective.to(processes.device())
    pairs = [
        losses(
            objective,
            _there(system.batch(system.validation, step, system.own.batch_size)),
            system.module.NATS,
        )
        for step in range(system.settings.held_out_batches)
    ]
    gains = [other - own for own, other in pairs]
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    own, other = (statistics.fmean(each) for each in zip(*pairs, strict=True))
    return {"own": own, "other": other, "gain": other - own, "error": error}


def _there(batch: Batch) -> Batch:
    return {key: value.to(processes.device()) for key, value in batch.items()}


def _loss(objective: nn.Module, batch: Batch, metric: str) -> float:
    loss, parts = objective(**batch)
    found = {"loss": loss, **parts}
    return float(found.get("forward", found[metric]))  # of ELMo's two directions
