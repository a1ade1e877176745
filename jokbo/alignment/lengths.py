"""Responses of like length are read together, and no further than the longest of them: padding is not computed.

Shapes: B responses, S tokens with the prompt, R of a response at most; b and r of a group.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from jokbo.training import processes

ROWS = 8  # of a group on a CPU, where time goes by tokens; elsewhere a few large products are faster


def by_length(read: Callable[[Tensor], Tensor], tokens_BS: Tensor, mask_BR: Tensor) -> Tensor:
    """Return what `read` says of each response token, [B, R, ...], and zeros beyond the last one of a response.

    `read` maps prompts with responses [b, S - R + r] to numbers [b, r, ...]. `mask_BR` is true or positive for the
    tokens of a response, which begin it, and zero after them.
    """
    on_cpu = processes.accelerator().device_name() == "cpu"
    lengths_B = (mask_BR > 0).sum(1).clamp(min=1)
    order_B = lengths_B.argsort(stable=True)
    parts = []
    for rows in order_B.split(ROWS if on_cpu else len(order_B)):
        beyond = mask_BR.shape[1] - int(lengths_B[rows].max())
        found = read(tokens_BS[rows, : tokens_BS.shape[1] - beyond])
        parts.append(torch.cat([found, found.new_zeros(len(rows), beyond, *found.shape[2:])], dim=1))
    return torch.cat(parts)[order_B.argsort()]
