"""The last layer of a network says that it is one: optimizers treat it as they treat embeddings."""

from __future__ import annotations

from torch import nn


class Head(nn.Linear):
    """Maps hidden states to classes, tokens or scores."""
