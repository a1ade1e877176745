"""What a file of this folder is to the comparison: one paper behind one typed Protocol.

Every file is one paper, imports at most one other paper, and is a `SystemModule`; but for this one and common.py,
masking.py and noise.py, which they share. What only some papers bring are the Protocols below it: a system may ask for
one in family/params.yaml only if its class in jokbo/params/systems.py allows it, and tests hold the two together.

The network that one function makes is the one that the others of its file take, whatever its class: here it is `Any`.

Shapes: B sequences of a batch, T tokens of a sequence, D numbers of a vector, N texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from jokbo.systems.common import Paper, Size, SpecialTokens, Text
from jokbo.training.schedules import Schedule


@runtime_checkable
class SystemModule(Protocol):
    """A system: its network, what it learns from which input, and what a classifier reads of it.

    A network is transformers' own or saves itself as that does (`save_pretrained`), or it is a plain module whose
    `size` is the one that it was made with: see common.save and common.load.
    """

    TITLE: str
    YEAR: int
    OBJECTIVE: str
    """What is predicted from what, in a few words, for the table."""
    NATS: str
    """Which metric of the objective, or "loss", is the mean cross-entropy in nats of the tokens predicted. It compares
    with the unigram entropy if two things hold: those tokens are as frequent as in the text (XLM's are rarer), and the
    network has not read them (BART's has read most)."""
    PAPER_SIZES: Mapping[str, Paper]
    """Sizes as published, with the parameters that the paper counts."""

    def network(self, size: Size, special_tokens: SpecialTokens, seed: int) -> Any:
        """Return the network with fresh weights, a function of the arguments alone.

        DistilBERT's begins with the BERT in the folder size.more["teacher"], and learns from it, where that is named.
        """
        ...

    def Objective(self, network: Any, special_tokens: SpecialTokens) -> nn.Module:
        """Return a module that gives, for a batch as keywords, its mean loss and {metric: scalar}."""
        ...

    def batch(self, text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
        """Return the input of a step, tensors whose first axis is B: a function of (seed, step) alone."""
        ...

    def features(self, network: Any, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
        """Return the mean [B, D] of the states of each padded text, without padding: a classifier reads it."""
        ...


@runtime_checkable
class Noam(SystemModule, Protocol):
    """A system that may be pretrained with `schedule: noam`."""

    def noam(self, step: int, hidden_size: int, warmup: int) -> float:
        """Return the learning rate of a step; the first step is 1."""
        ...


@runtime_checkable
class OneCycle(SystemModule, Protocol):
    """A system that may be pretrained with `schedule: one_cycle`, in which batches grow."""

    def rate(self, share: float) -> float:
        """Return the learning rate, 1 at its top, when a share of the budget is spent."""
        ...

    def batch_size(self, share: float, whole: int) -> int:
        """Return the batch size when a share of the budget is spent; `whole` at the end."""
        ...


@runtime_checkable
class Gradual(SystemModule, Protocol):
    """A system that may be fine-tuned with `finetune: gradual`, one more layer learning at a time."""

    def gradual(
        self, network: Any, head: nn.Module, rate: float, steps: int
    ) -> tuple[torch.optim.Optimizer, Schedule]:
        """Return an optimizer of network and head, and its schedule over the steps."""
        ...


@runtime_checkable
class Decoder(SystemModule, Protocol):
    """It may be read at a text's end, too, with `last: true`."""

    def last(self, network: Any, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
        """Return the state at each text's end, [B, D]."""
        ...


class Neuron(Protocol):
    """One neuron of a network as a classifier."""

    index: int

    def right(self, features_ND: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        """Return whether it tells each text's label, [N]."""
        ...


@runtime_checkable
class OneNeuron(SystemModule, Protocol):
    """A system that may be asked, with `neuron: true`, which one neuron tells the labels best."""

    def best_neuron(self, features_ND: np.ndarray, labels_N: np.ndarray) -> Neuron:
        """Return the neuron that tells the labels of these texts best."""
        ...
