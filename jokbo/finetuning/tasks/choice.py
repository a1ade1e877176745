"""One of several answers to a text is right (GPT-1, section 3.3).

Each answer is a sequence, `text, delimiter, answer, end of text`, to which the last layer gives one number; a softmax
goes over those of all answers. The label says which answer is right: the classes, in their order, are the answers'.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from jokbo.finetuning.tasks.kind import Example


class Choice:
    def sequences(self, row: Example) -> list[list[str]]:
        return [[row.text, answer] for answer in row.others]

    def outputs(self, classes: Sequence[str]) -> list[str]:
        return ["right"]

    def logits(self, layer: nn.Linear, means_BKD: Tensor) -> Tensor:
        return layer(means_BKD).squeeze(-1)

    def fault(self, classes: Sequence[str], row: Example) -> str | None:
        if len(row.others) == len(classes):
            return None
        return f"it has {len(row.others)} answers, but there are {len(classes)} labels: there must be one for each"
