"""A network of fewer layers, made of one that is there (Sanh et al. 2019, DistilBERT, section 3)."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from jokbo.runtime.errors import InputError

_COUNT = "num_hidden_layers"  # transformers' name for the number of layers, by which configurations have others too


def shallower(network: PreTrainedModel, layers: int) -> PreTrainedModel:
    """Return a network of `layers` layers, evenly spaced ones of `network`, with everything else that it has.

    Raises InputError if it has not as many.
    """
    config, theirs = network.config, getattr(network.config, _COUNT)
    if layers > theirs:
        raise InputError(f"{config.name_or_path}: {layers} layers are asked of it, and it has {theirs}")
    own = {config.attribute_map.get(_COUNT, _COUNT): layers, "layer_types": None}
    made = type(network)._from_config(
        type(config).from_dict({**config.to_dict(), **own}), dtype=torch.float32
    )
    prefix = _prefix(network, theirs)
    state = network.state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith(prefix)}
    for mine in range(layers):
        source = f"{prefix}{mine * theirs // layers}."
        kept |= {
            f"{prefix}{mine}.{name.removeprefix(source)}": value
            for name, value in state.items()
            if name.startswith(source)
        }
    made.load_state_dict(kept)
    return made


def _prefix(network: PreTrainedModel, layers: int) -> str:
    """Return what the names of the layers' weights begin with, before the layer's number."""
    for name, module in network.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == layers:
            return f"{name}."
    raise InputError(
        f"{network.config.name_or_path}: a {network.config.model_type} has no list of {layers} layers"
    )
