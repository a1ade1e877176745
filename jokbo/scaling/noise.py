"""The gradient noise scale, which tells up to which batch size data parallelism pays (McCandlish et al. 2018).

B_simple = tr(S) / |G|^2, where G is the true gradient and S the covariance of the gradient of one sequence (equation
2.9). Both are estimated without bias from the squared norms of gradients of two batch sizes (appendix A.1).

Shape letters of tensors: B sequences, P parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jokbo.training import processes

Batch = dict[str, Tensor]


class Noise(NamedTuple):
    """What the gradients of a network's loss say of its noise, at the weights that it had."""

    trace: float  # of the covariance of the gradient of one sequence
    squared: float  # norm of the true gradient

    @property
    def scale(self) -> float | None:
        """B_simple in sequences; None where the sample is too small to tell the gradient from noise."""
        return self.trace / self.squared if self.squared > 0 and self.trace > 0 else None


def of_norms(small: float, large: float, small_size: int, large_size: int) -> Noise:
    """Return the noise from the mean squared norms of gradients of batches of `small_size` and `large_size`.

    McCandlish et al. 2018, equations A.2 and A.3: the expected squared norm of a batch of B is |G|^2 + tr(S) / B.
    """
    squared = (large_size * large - small_size * small) / (large_size - small_size)
    trace = (small - large) / (1 / small_size - 1 / large_size)
    return Noise(trace, squared)


def measured(objective: nn.Module, batches: Iterable[Batch], parts: int, precision: str = "fp32") -> Noise:
    """Return the noise at the objective's weights: of `parts` of each batch, against all batches together.

    `objective(**batch)` gives (mean loss, metrics). It keeps its weights and what its parameters have as gradients.
    """
    learns = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    total = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in learns]
    squares: list[float] = []
    rows = 0
    for batch in batches:
        for part in _parts(batch, parts):
            rows = len(next(iter(part.values())))
            with processes.autocast(precision):
                loss = objective(**part)[0]
            gradients = torch.autograd.grad(loss, learns)
            squares.append(sum(float(each.float().square().sum()) for each in gradients))
            for whole, each in zip(total, gradients, strict=True):
                whole += each
    count = len(squares)
    large = sum(float((whole / count).square().sum()) for whole in total)
    return of_norms(sum(squares) / count, large, rows, count * rows)


def _parts(batch: Batch, parts: int) -> list[Batch]:
    """Return equal parts of a batch, on the device of the training."""
    split = {name: tensor.to(processes.device()).chunk(parts) for name, tensor in batch.items()}
    return [dict(zip(split, tensors, strict=True)) for tensors in zip(*split.values(), strict=True)]
