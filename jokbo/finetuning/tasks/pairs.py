"""Two texts are of one of several classes (GPT-1, section 3.3).

Entailment is one sequence, `text, delimiter, other text, end of text`. In a similarity neither text is the first: both
orders are sequences, and their states are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from jokbo.finetuning.tasks.kind import Example


@dataclass(frozen=True)
class Pairs:
    symmetric: bool  # whether it is a similarity

    def sequences(self, row: Example) -> list[list[str]]:
        pair = [row.text, *row.others]
        return [pair, pair[::-1]] if self.symmetric else [pair]

    def outputs(self, classes: Sequence[str]) -> list[str]:
        return [*classes]

    def logits(self, layer: nn.Linear, means_BKD: Tensor) -> Tensor:
        return layer(means_BKD.sum(1))

    def fault(self, classes: Sequence[str], row: Example) -> str | None:
        return None if len(row.others) == 1 else f"it has {len(row.others)} other texts: a pair has one"
