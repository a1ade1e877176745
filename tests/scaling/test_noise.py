"""The gradient noise scale against what it is by its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from jokbo.scaling import noise


class Mean(nn.Module):
    """A loss whose gradient of one sequence is the sequence."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(numbers))

    def forward(self, rows_BN: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return (rows_BN @ self.weight).mean(), {}


def rows(count: int, seed: int = 0) -> torch.Tensor:
    """Gradients of squared norm 4 and of covariance of trace 25 + 50."""
    rng = np.random.default_rng(seed)
    drawn = np.array([2.0, 0.0, 0.0]) + rng.standard_normal((count, 3)) * np.array([5.0, 5.0, 5.0])
    return torch.tensor(drawn, dtype=torch.float32)


def test_expected_norms_give_the_true_numbers() -> None:
    squared, trace = 4.0, 75.0
    found = noise.of_norms(squared + trace / 4, squared + trace / 64, 4, 64)
    assert found.squared == pytest.approx(squared)
    assert found.trace == pytest.approx(trace)
    assert found.scale == pytest.approx(75 / 4)


def test_it_is_measured_from_parts_and_all_of_them() -> None:
    drawn = rows(64)
    objective = Mean(3)
    objective.weight.grad = torch.ones(3)
    found = noise.measured(objective, [{"rows_BN": batch} for batch in drawn.split(16)], parts=4)
    small = drawn.view(16, 4, 3).mean(1).square().sum(1).mean().item()
    large = drawn.mean(0).square().sum().item()
    assert found == pytest.approx(noise.of_norms(small, large, 4, 64), rel=1e-4)
    assert objective.weight.grad.tolist() == [1, 1, 1]  # as it was


def test_over_many_samples_it_is_unbiased() -> None:
    found = [
        noise.measured(Mean(3), [{"rows_BN": batch} for batch in rows(64, seed).split(16)], parts=4)
        for seed in range(200)
    ]
    assert np.mean([each.squared for each in found]) == pytest.approx(4, rel=0.15)
    assert np.mean([each.trace for each in found]) == pytest.approx(75, rel=0.05)


def test_no_scale_where_the_gradient_is_lost_in_noise() -> None:
    assert noise.of_norms(small=10.0, large=0.5, small_size=4, large_size=64).scale is None
