"""What of the comparison's training settings is its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from jokbo.comparison.training_settings import adafactor

RATE = 0.03


def test_a_step_of_adafactor_is_a_share_of_each_matrix_own_scale() -> None:
    """Shazeer & Stern 2018, section 8; a first gradient of one size everywhere makes an update of one."""
    layers = nn.ModuleList(nn.Linear(8, 6, bias=False) for _ in range(2))
    for layer, scale in zip(layers, (1.0, 0.02), strict=True):
        nn.init.normal_(layer.weight, std=scale)
        layer.weight.grad = torch.randint(2, layer.weight.shape) * 2.0 - 1.0
    before = [layer.weight.detach().clone() for layer in layers]
    adafactor(RATE, layers).step()
    for layer, old in zip(layers, before, strict=True):
        moved = (layer.weight.detach() - old).square().mean().sqrt()
        assert moved.item() == pytest.approx(RATE * old.square().mean().sqrt().item(), rel=1e-4)
