"""What a training on preference pairs learns of each pair: a probability and a margin, and the loss that reads them.

The label of a pair is the probability that the preferred response is the better one. A choice is 1. A judge's own
probability is a soft label (Bai et al. 2022, section 4.1), and a tie is 0.5. Smoothing e takes each label for the
wrong way round with probability e (Mitchell 2023, of DPO). A margin is what the preferred response must lead by
(Touvron et al. 2023, section 3.2.2), here in proportion to how far those who were asked agree.

Shapes: N or B pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from jokbo.preferences.pairs import decided

if TYPE_CHECKING:
    from jokbo.data.tables import Row
    from jokbo.params import HardLabels, SoftLabels


class Labels(NamedTuple):
    """Of each pair, fp32 [N]."""

    probability_N: Tensor  # that the preferred response is the better one
    margin_N: Tensor  # that it must lead by

    def of(self, numbers: Sequence[int]) -> Labels:
        """Return the labels of the pairs of these numbers."""
        return Labels(self.probability_N[numbers], self.margin_N[numbers])


def learned(rows: Iterable[Row], settings: HardLabels | SoftLabels) -> list[Row]:
    """Return the pairs that a training learns from: all with soft labels, else those that are no tie."""
    return list(rows) if settings.kind == "soft" else decided(rows)


def preferred(row: Row) -> int:
    """Return the index of the response that counts as preferred: the chosen one, the first one of a tie."""
    return row["choice"] or 0


def labels_of(rows: Sequence[Row], settings: HardLabels | SoftLabels) -> Labels:
    """Return the label of each pair."""
    e = settings.smoothing
    probabilities = [_soft(row) if settings.kind == "soft" else 1.0 for row in rows]
    margins = [settings.margin * _strength(row) if settings.kind == "hard" else 0.0 for row in rows]
    return Labels(torch.tensor([(1 - e) * p + e * (1 - p) for p in probabilities]), torch.tensor(margins))


def losses(lead_B: Tensor, probability_B: Tensor | float, margin_B: Tensor | float) -> Tensor:
    """Return the cross-entropy, nats [B], of the labels with sigmoid(lead - margin).

    The lead is the reward of the preferred response less that of the other. In its stable form, and with a choice for
    a label and no margin, that is softplus(-lead) to the last bit.
    """
    short_B = margin_B - lead_B
    softplus = nn.functional.softplus
    return probability_B * softplus(short_B) + (1 - probability_B) * softplus(-short_B)


def right(lead_B: Tensor, probability_B: Tensor | float) -> Tensor:
    """Return 1.0 where the lead is on the side of the label and 0.0 where it is not, [B]; a tie is half right."""
    probability_B = torch.as_tensor(probability_B)
    agrees_B = (lead_B > 0) == (probability_B > 0.5)
    return torch.where(probability_B == 0.5, 0.5, agrees_B.float())


def _soft(row: Row) -> float:
    """Return how probable it is that the response which counts as preferred is the better one."""
    first = row.get("probability")
    if first is None:
        return 0.5 if row["choice"] is None else 1.0
    return 1 - first if preferred(row) else first


def _strength(row: Row) -> float:
    """Return how far those who were asked agree, from 0, evenly split, to 1."""
    first = row.get("probability")
    return abs(2 * first - 1) if first is not None else max(0.0, 2 * row["agreement"] - 1)
