"""Low-rank adapters: beside a linear layer W stands alpha / rank * B A, and A and B alone learn (Hu et al. 2022).

They are peft's, put into the network in place, so that it stays of its own class. What stands outside the backbone and
is no language head, such as the fresh layer of a reward model, learns in full and is part of the adapter.

B starts at zero: a network with a fresh adapter computes what it computed before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from jokbo.params.method import ALL_LINEAR
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import Lora, Qlora

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # to peft
NAME = "default"  # of an adapter, to peft


@dataclass(frozen=True)
class Adapter:
    """What an adapter learned, apart from its network."""

    config: LoraConfig
    tensors: dict[str, Tensor]

    def save(self, folder: Path, base: Path) -> None:
        """Write what peft and transformers open on top of the model `base`."""
        folder.mkdir()
        found = {**self.config.to_dict(), "base_model_name_or_path": str(base)}
        # peft holds sets, and would write them in another order each time
        found = {key: sorted(value) if isinstance(value, set) else value for key, value in found.items()}
        (folder / CONFIG).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")
        save_file(self.tensors, folder / WEIGHTS, metadata={"format": "pt"})


def layers(network: PreTrainedModel) -> dict[str, nn.Module]:
    """Return the linear layers of the backbone by their names in the network."""
    named = network.base_model.named_modules(prefix=network.base_model_prefix)
    return {name: module for name, module in named if isinstance(module, nn.Linear | Conv1D)}


def targeted(names: Iterable[str], targets: Sequence[str]) -> list[str]:
    """Return those layers that the targets name by the ends of their names. InputError if a target names none."""
    names = list(names)
    if list(targets) == [ALL_LINEAR]:
        return names
    found: set[str] = set()
    for target in targets:
        mine = {name for name in names if f".{name}".endswith(f".{target}")}
        if not mine:
            there = sorted({name.rpartition(".")[2] for name in names})
            raise InputError(f"no linear layer is called {target}: there are {', '.join(there)}")
        found |= mine
    return [name for name in names if name in found]


def put_on(network: PreTrainedModel, settings: Lora | Qlora, seed: int) -> PeftModel:
    """Put fresh adapters into the network, which alone learn from now on, beside its head.

    Raises InputError for a target that names no layer.
    """
    torch.manual_seed(seed)
    chosen = targeted(layers(network), settings.targets)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # pyright: ignore[reportArgumentType]  # any number: it is divided by the rank
        lora_dropout=settings.dropout,
        target_modules=sorted({name.rpartition(".")[2] for name in chosen})
        if settings.targets == [ALL_LINEAR]
        else list(settings.targets),
    )
    tuner = get_peft_model(network, config)
    assert isinstance(tuner, PeftModel)
    for _, head in heads(network):
        head.requires_grad_(True)
    return tuner


def heads(network: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """Yield the name and the module of what stands beside the backbone, but for a language head."""
    for name, module in network.named_children():
        if name != network.base_model_prefix and module is not network.get_output_embeddings():
            yield name, module


def taken(tuner: PeftModel, network: PreTrainedModel) -> Adapter:
    """Return what the adapters of the network have learned."""
    tensors = get_peft_model_state_dict(tuner)
    beside = list(heads(network))
    for name, module in beside:
        tensors |= {f"base_model.model.{name}.{key}": each for key, each in module.state_dict().items()}
    config: Any = tuner.peft_config[NAME]
    config.modules_to_save = [name for name, _ in beside] or None
    config.inference_mode = True
    return Adapter(config, {name: each.detach().cpu().clone().contiguous() for name, each in tensors.items()})


def merge(tuner: PeftModel, network: PreTrainedModel) -> None:
    """Add what the adapters give to the weights beside them, and take them out."""
    tuner.merge_and_unload()
    forget(network)


def forget(network: PreTrainedModel) -> None:
    """Have the network learn whole again, once its adapters are out of it."""
    vars(network).pop("peft_config", None)  # or peft would take the next adapter for one more
    network.requires_grad_(True)


@torch.no_grad()
def changes(network: PreTrainedModel) -> dict[str, Tensor]:
    """Return alpha / rank * B A of each layer with an adapter, as the layer's weight is laid out."""
    found: dict[str, Any] = {
        name: each for name, each in network.named_modules() if isinstance(each, LoraLayer)
    }
    return {name: each.get_delta_weight(NAME) for name, each in found.items()}
