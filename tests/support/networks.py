"""Tiny networks and settings for tests."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from jokbo.models import causal

VOCABULARY, CONTEXT, END, PADDING = 61, 24, 0, 1


def network(
    architecture: str = "llama", *, layers: int = 2, seed: int = 0, context: int = CONTEXT
) -> PreTrainedModel:
    """Return a network of a few thousand weights, its outputs far enough from uniform for differences to show."""
    model = SimpleNamespace(
        architecture=architecture, layers=layers, hidden_size=16, heads=2, context=context, dropout=0.0
    )
    config = causal.configuration(model, vocabulary=VOCABULARY, end_of_text=END, padding=PADDING)
    built = causal.build(config, seed=seed)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)
    return built


def tokens(rows: int, length: int = CONTEXT, *, seed: int = 0) -> Tensor:
    """Return random ordinary tokens, int64 [rows, length]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, VOCABULARY, (rows, length), generator=generator)


def compute(**changes: object) -> SimpleNamespace:
    settings = {
        "processes": 1,
        "zero_stage": 0,
        "micro_batch": 0,
        "compile": False,
        "activation_checkpointing": False,
        "offload": "none",
        "checkpoint_seconds": 3600.0,
    }
    return SimpleNamespace(**{**settings, **changes})


def optimizer(name: str = "adamw", rate: float = 0.01) -> SimpleNamespace:
    return SimpleNamespace(
        name=name, learning_rate=rate, adam_learning_rate=rate, betas=[0.9, 0.95], weight_decay=0.0
    )


def lora(**changes: object) -> SimpleNamespace:
    settings = {"kind": "lora", "rank": 4, "alpha": 8.0, "targets": ["all-linear"], "dropout": 0.0}
    return SimpleNamespace(**{**settings, **changes})


def training(steps: int, batch_size: int = 8, **changes: object) -> SimpleNamespace:
    settings = {
        "steps": steps,
        "batch_size": batch_size,
        "precision": "fp32",
        "optimizer": optimizer(),
        "warmup_steps": 2,
        "decay_fraction": 0.5,
        "gradient_clip": 0.0,
        "method": SimpleNamespace(kind="full"),
        "keep": SimpleNamespace(kind="last"),
    }
    return SimpleNamespace(**{**settings, **changes})
