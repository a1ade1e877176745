"""Linear layers in 4 bits: NormalFloat with double quantisation, by bitsandbytes (Dettmers et al. 2023, section 3)."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from jokbo.runtime.errors import InputError
from jokbo.training import adapters

BLOCK = 64  # weights that share a scale


def check() -> None:
    """Raise InputError if bitsandbytes is not there, or cannot hold weights in 4 bits on this machine."""
    try:
        library = _bitsandbytes()
        layer = _in_4_bits(library, nn.Linear(BLOCK, BLOCK))
        found = layer(torch.zeros(1, BLOCK, device=layer.weight.device))
        if not bool(found.isfinite().all()):
            raise ValueError("its layers give numbers that are not finite")
    except Exception as error:  # whatever a package raises that is missing, or was built for other machines
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"bitsandbytes cannot hold weights in 4 bits here ({why}): install bitsandbytes, or choose lora"
        ) from error


def quantise(network: PreTrainedModel) -> None:
    """Hold the linear layers of the backbone in 4 bits from now on; all other weights stay as they are."""
    library = _bitsandbytes()
    for name, layer in adapters.layers(network).items():
        network.set_submodule(name, _in_4_bits(library, layer))


@torch.no_grad()
def restore(network: PreTrainedModel, kinds: dict[str, type[nn.Module]]) -> None:
    """Give the layers in 4 bits back as the kinds that they were, with the weights that they compute with."""
    library = _bitsandbytes()
    found: dict[str, Any] = adapters.layers(network)
    for name, layer in found.items():
        weight = library.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
        network.set_submodule(name, _plain(weight, layer.bias, kinds[name]))


def _bitsandbytes() -> Any:
    return importlib.import_module("bitsandbytes")  # of an extra: it is there for qlora alone


def _in_4_bits(library: Any, layer: nn.Module) -> Any:
    """Return a linear layer in 4 bits on the layer's device, to which an accelerator's quantisation is tied."""
    weight, device = layer.weight, layer.weight.device
    assert isinstance(weight, Tensor)
    weight = weight.detach().T.contiguous() if isinstance(layer, Conv1D) else weight.detach()
    outputs, inputs = weight.shape
    made = library.nn.Linear4bit(
        inputs, outputs, layer.bias is not None, torch.float32, quant_type="nf4", device="meta"
    )
    made.weight = library.nn.Params4bit(
        weight, requires_grad=False, quant_type="nf4", compress_statistics=True, module=made
    )
    made.bias = layer.bias
    # else it packs weights anew in the first evaluation, in a form that nothing can go backward through
    made.support_avx512bf16_for_cpu = False
    return made.to(device)


def _plain(weight: Tensor, bias: nn.Parameter | None, kind: type[nn.Module]) -> nn.Module:
    outputs, inputs = weight.shape
    made: Any
    with torch.device("meta"):
        made = Conv1D(outputs, inputs) if kind is Conv1D else nn.Linear(inputs, outputs, bias is not None)
    made.weight = nn.Parameter(weight.T.contiguous() if kind is Conv1D else weight)
    made.bias = bias
    return made
