"""Parameters and floating-point operations, counted as the papers count them.

Kaplan et al. 2020 (section 2.1) count parameters without embeddings of tokens and positions; Hoffmann et al. 2022 count
all. Both take 6 FLOPs a parameter and token: two of a product forward, twice as many backward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLOPS_EACH = 6


def parameters(network: PreTrainedModel) -> dict[str, int]:
    """Return both counts of a network's parameters; a matrix that input and output share is counted once."""
    return {
        "parameters": network.num_parameters(),
        "parameters_without_embeddings": network.num_parameters(exclude_embeddings=True),
    }


def flops(parameters: float, tokens: float) -> float:
    """Return the FLOPs of a training, 6 N D (Kaplan et al. 2020, section 2.1)."""
    return float(FLOPS_EACH * parameters * tokens)
