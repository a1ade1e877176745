"""DeepSpeed's Muon, with weights of any number of axes. Importing it imports torch's compiler."""

from __future__ import annotations

from typing import Any

from deepspeed.runtime.zero.muon import muon_optimizer, original_muon
from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam as Muon
from torch import Tensor

__all__ = ["Muon"]
plain_update = original_muon.muon_update


def flat_update(grad: Tensor, momentum: Tensor, *more: Any, **named: Any) -> Tensor:
    """Return Muon's update of a weight of more axes than two, as the matrix of its first by all others: a kernel's
    filters (Jordan et al. 2024), the heads of XLNet. DeepSpeed would take three axes for a batch of matrices.
    """
    if grad.ndim == 2:
        return plain_update(grad, momentum, *more, **named)
    return plain_update(grad.flatten(1), momentum.view(len(momentum), -1), *more, **named).view_as(grad)


# where ZeRO and the optimizer look it up
original_muon.muon_update = muon_optimizer.muon_update = flat_update
