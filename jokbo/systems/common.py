"""What the systems of the family share: their size, the marks of the tokenizer, the text that they read.

Every other file of this folder but gpt.py is one paper and has

    TITLE, YEAR, OBJECTIVE      for the table of the comparison
    PAPER_SIZES                 {name: Paper}: sizes as published, with the parameters that the paper counts
    network(size, marks, seed)  the network with fresh weights, a function of its arguments alone
    Objective(network, marks)   a module: Objective(...)(**batch) is (mean loss, {metric: scalar}), as the engine trains
    batch(text, step, rows, context, seed)   a step's input, a function of (seed, step) alone
    features(network, tokens_BT, marks)      a vector for each row of padded text, [B, D]: what a classifier reads
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jokbo.data.batches import packed_batch
from jokbo.data.packing import TokenCorpus


@dataclass(frozen=True)
class Size:
    """Of a network. `more` holds what only one system has (ALBERT's embedding width, ELECTRA's generator ...)."""

    vocabulary: int
    layers: int
    width: int
    heads: int
    context: int
    dropout: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Paper:
    """A published size and what the paper says of its parameters."""

    size: Size
    parameters: float  # as printed there
    counted: str = "all"  # what has to be counted to come to it
    tolerance: float = 0.02  # relative: papers round


@dataclass(frozen=True)
class Marks:
    """Token ids with a meaning of their own. A tokenizer of kind wordpiece has them all."""

    end_of_text: int
    padding: int
    unknown: int
    cls: int
    sep: int
    mask: int


@dataclass(frozen=True)
class Text:
    """What a system makes its input from: documents, each followed by an end-of-text mark, as one row of tokens."""

    corpus: TokenCorpus
    marks: Marks
    vocabulary: int

    def blocks(self, step: int, rows: int, length: int, seed: int) -> Tensor:
        """Full blocks of running text, int64 [rows, length], marks of document ends among them."""
        tokens_BS = packed_batch(
            self.corpus,
            step,
            batch=rows,
            context=length - 1,
            seed=seed,
            packing="joined",
            padding=self.marks.padding,
        )
        return torch.from_numpy(tokens_BS)


def next_token_loss(logits_BTV: Tensor, tokens_BS: Tensor) -> Tensor:
    """Mean cross-entropy, nats, of all tokens but the first, of which the logits are those given what is before."""
    return nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), tokens_BS[:, 1:].flatten())


def at_last(states_BTD: Tensor, tokens_BT: Tensor, padding: int) -> Tensor:
    """The state [B, D] at each row's last token, which alone has read the whole of a row padded on its right."""
    last_B = (tokens_BT != padding).sum(dim=1) - 1
    return states_BTD[torch.arange(len(last_B), device=last_B.device), last_B]


def generator(seed: int, step: int, purpose: str = "") -> np.random.Generator:
    """The random numbers of one step, and of one purpose in it: the same on every rank and after every resume."""
    return np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, 0, 0, hash_of(purpose)]))


def hash_of(purpose: str) -> int:
    """A number of 64 bits for a name, the same in every process."""
    return int.from_bytes(purpose.encode()[:8].ljust(8, b"\0"), "big")
