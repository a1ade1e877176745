"""What a kind of labelled task is: how a row becomes sequences, and what their states say of the classes.

Shapes: B rows, K sequences of a row, D numbers of a state, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn


class Example(NamedTuple):
    """A labelled row."""

    text: str
    others: tuple[str, ...]  # the second text of a pair, or the answers of a choice
    label: str


class Kind(Protocol):
    """A kind of task, as GPT-1 turns it into sequences (Radford et al. 2018, section 3.3)."""

    def sequences(self, row: Example) -> list[list[str]]:
        """Return the sequences of a row, as many for each row, and of each the texts that it joins."""
        ...

    def outputs(self, classes: Sequence[str]) -> list[str]:
        """Return the names of the numbers that the network's last layer gives."""
        ...

    def logits(self, layer: nn.Linear, means_BKD: Tensor) -> Tensor:
        """Return the logits of the classes [B, C], from the last layer and the mean state of each sequence."""
        ...

    def fault(self, classes: Sequence[str], row: Example) -> str | None:
        """Return in a few words why such a row can't be of this kind; None if it can."""
        ...
