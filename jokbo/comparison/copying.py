"""What is lost by a model that knows how frequent tokens are, and copies: the mark beside a system's own loss.

A token's probability is a mixture of three: its frequency in the training text; its share among the ordinary tokens
that are visible, each as likely to be copied as any other; and 1 if its position shows it. Positions that show a token,
as BERT's 10% random and 10% kept ones do, have weights of their own. The weights are fitted on training text by
expectation and maximisation.

What is visible: the rest of a text in which positions are predicted; a source, and what the decoder has written before
a token; of running text what comes before a token.

Shapes: B rows, T and S tokens of a row, K tokens predicted in it, N predicted tokens, 3 parts of the mixture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from jokbo.comparison.context import SOURCES, hidden, running
from jokbo.comparison.system import OpenedSystem
from jokbo.systems.common import SpecialTokens
from jokbo.training.engine import Batch

ROUNDS = 50


def copying(system: OpenedSystem) -> float:
    """Return the held-out loss, nats a predicted token, of the mixture that is fitted to as many training batches."""
    counts_V = system.train.counts_V
    frequencies_V = (counts_V + 1) / (counts_V.sum() + len(counts_V))

    def seen(text) -> tuple[np.ndarray, np.ndarray]:
        found = [
            parts(system.batch(text, step, system.own.batch_size), system.special_tokens, frequencies_V)
            for step in range(system.settings.held_out_batches)
        ]
        return tuple(np.concatenate(each) for each in zip(*found, strict=True))  # pyright: ignore[reportReturnType]

    fitting_N3, fitting_shown_N = seen(system.train)
    held_N3, held_shown_N = seen(system.validation)
    nats = 0.0
    for shown in (False, True):
        some_N3 = held_N3[held_shown_N == shown]
        if len(some_N3):
            weights_3 = fitted(fitting_N3[fitting_shown_N == shown])
            nats -= np.log(some_N3 @ weights_3).sum()
    return float(nats / len(held_N3))


def fitted(parts_N3: np.ndarray) -> np.ndarray:
    """Return the weights of the mixture that makes the tokens likeliest."""
    weights_3 = np.full(parts_N3.shape[1], 1 / parts_N3.shape[1])
    for _ in range(ROUNDS if len(parts_N3) else 0):
        shares_N3 = parts_N3 * weights_3
        weights_3 = (shares_N3 / shares_N3.sum(axis=1, keepdims=True)).mean(axis=0)
    return weights_3


def parts(
    batch: Batch, special_tokens: SpecialTokens, frequencies_V: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return of each predicted token the three probabilities [N, 3], and whether its position shows a token [N]."""
    lowest, highest = special_tokens.mask, len(frequencies_V)  # ordinary tokens are between
    if "positions_BK" in batch:
        found = hidden(batch)
        tokens_BT, targets_BK, valid_BK = batch[found.key], found.targets_BK, found.valid_BK
        visible_BT = (tokens_BT > lowest) & ~found.where_BT
        shown_BK = tokens_BT.gather(1, batch["positions_BK"])
        shown_BK = shown_BK.masked_fill(shown_BK <= lowest, -1)
        if "ranks_BT" in batch:  # XLNet's queries do not see what stands there
            shown_BK = torch.full_like(shown_BK, -1)
        share_BK = _share(targets_BK, tokens_BT, visible_BT, own="fragment_BK" in batch)
    else:
        source = next((key for key in SOURCES if key in batch), None)
        targets_BK = _targets(batch, source is not None)
        valid_BK = torch.ones_like(targets_BK, dtype=torch.bool)
        if "weights_BM" in batch:  # T5's, without sentinels and the end
            valid_BK = (targets_BK > lowest) & (targets_BK < highest) & (batch["weights_BM"] > 0)
        tokens_BT = batch[source] if source else torch.empty((len(targets_BK), 0), dtype=torch.int64)
        visible_BT = (tokens_BT > lowest) & (tokens_BT < highest)
        shown_BK = torch.full_like(targets_BK, -1)
        if source is None:  # the first token of a row is read, and not predicted
            tokens_BT, visible_BT = _first(batch), torch.ones_like(_first(batch), dtype=torch.bool)
        share_BK = _share(targets_BK, tokens_BT, visible_BT, own=True)
    targets_N, shown_N = targets_BK[valid_BK].numpy(), shown_BK[valid_BK].numpy()
    same_N = (targets_N == shown_N).astype(float)
    frequency_N = frequencies_V[np.minimum(targets_N, highest - 1)]
    return np.stack([frequency_N, share_BK[valid_BK].numpy(), same_N], axis=1), shown_N >= 0


def _targets(batch: Batch, has_source: bool) -> Tensor:
    if has_source:
        return next(batch[key] for key in ("target_BT", "tokens_BT", "targets_BM") if key in batch)
    return batch[running(batch)][:, 1:]


def _first(batch: Batch) -> Tensor:
    return batch[running(batch)][:, :1]


def _share(targets_BK: Tensor, tokens_BT: Tensor, visible_BT: Tensor, *, own: bool) -> Tensor:
    """Return the share [B, K] that each target has among the visible tokens, and with `own` the targets before it."""
    equal_BKT = (targets_BK[:, :, None] == tokens_BT[:, None]) & visible_BT[:, None]
    equal_BK = equal_BKT.sum(dim=2).double()
    count_BK = visible_BT.sum(dim=1, keepdim=True).double().expand_as(equal_BK)
    if own:
        before_BKK = (targets_BK[:, :, None] == targets_BK[:, None]).tril(-1)
        equal_BK = equal_BK + before_BKK.sum(dim=2)
        count_BK = count_BK + torch.arange(targets_BK.shape[1])
    return equal_BK / count_BK.clamp(min=1)
