"""A text is of one of several classes: one sequence, `text, end of text`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from jokbo.finetuning.tasks.kind import Example


class Classification:
    def sequences(self, row: Example) -> list[list[str]]:
        return [[row.text]]

    def outputs(self, classes: Sequence[str]) -> list[str]:
        return [*classes]

    def logits(self, layer: nn.Linear, means_BKD: Tensor) -> Tensor:
        return layer(means_BKD[:, 0])

    def fault(self, classes: Sequence[str], row: Example) -> str | None:
        return "it has other texts, which the kinds pairs and choice read" if row.others else None
