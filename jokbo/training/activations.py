"""Activation checkpointing: a layer holds its inputs alone, and is computed again on the way back (Chen et al. 2016).

The layers are those that transformers marks for it. Its own switch works in training mode alone; DPO and PPO train in
evaluation mode, without dropout. So layers are wrapped here, and are computed again wherever there are gradients.
Dropout draws the same numbers again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from jokbo.training import processes

if TYPE_CHECKING:
    from jokbo.params import Compute


@contextmanager
def recomputed(modules: Iterable[nn.Module], compute: Compute, name: str | None = None) -> Iterator[None]:
    """Within it the layers of the modules are computed again in backward, if `compute` asks for it.

    Where none of them can be, that is said of the training of this name.
    """
    layers = layers_of(modules) if compute.activation_checkpointing else []
    if compute.activation_checkpointing and not layers and name and processes.rank() == 0:
        print(
            f"jokbo: {name}: compute.activation_checkpointing has no effect here: no layer of this network can be "
            "computed again",
            file=sys.stderr,
            flush=True,
        )
    for layer in layers:
        layer.forward = _again(layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def layers_of(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Return the layers that can be computed again, each once."""
    found = (each for module in modules for each in module.modules())
    return list(dict.fromkeys(each for each in found if isinstance(each, GradientCheckpointingLayer)))


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def computed(*inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():  # as where responses are sampled
            return forward(*inputs, **options)
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    return computed
