"""One trunk for the networks of PPO, where they are adapters on it: the policy, the value, and the reward model.

The trunk is the supervised policy, whose weights stay as they are. The policy is the trunk with an adapter, the
reference is the trunk without one, and the value the trunk with an adapter and a head of its own. The reward model
stands on the same trunk if it was trained by adapters of the supervised policy; then the value begins as its adapter.
Otherwise the reward model is a network of its own, and the value begins as the trunk.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from jokbo.models import access
from jokbo.training import adapters, methods

if TYPE_CHECKING:
    from jokbo.params import Lora, Qlora

Networks = tuple[PreTrainedModel, PreTrainedModel, PreTrainedModel, PreTrainedModel]
POLICY, VALUE, REWARD = adapters.NAME, "value", "reward"  # names of adapters, to peft


@dataclass
class Trunk:
    """The backbone of the policy, and the adapter that it wears."""

    backbone: nn.Module
    learns: tuple[str, ...]  # the names of the adapters that are trained

    def __post_init__(self) -> None:
        self.layers: list[Any] = [each for each in self.backbone.modules() if isinstance(each, LoraLayer)]
        self.worn: str | None = REWARD

    def wear(self, name: str | None) -> None:
        """Compute with this adapter from now on; None: with none."""
        if name == self.worn:
            return
        for layer in self.layers:
            layer.set_adapter([name] if name else [])
        for learning in self.learns:  # peft takes all others for frozen
            for values in self.weights(learning):
                values.requires_grad_(True)
        self.worn = name

    def weights(self, name: str) -> list[nn.Parameter]:
        """Return the weights of an adapter."""
        mine = (layer for layer in self.layers if name in layer.lora_A)
        return [each[name].weight for layer in mine for each in (layer.lora_A, layer.lora_B)]


class View(nn.Module):
    """The trunk with one adapter. What that adapter learns is all of its weights: the trunk's own are nobody's."""

    def __init__(self, trunk: Trunk, name: str | None) -> None:
        super().__init__()
        self._trunk, self.name = trunk, name
        self.learned = nn.ParameterList(trunk.weights(name) if name else [])

    def forward(self, *inputs: Any, **options: Any) -> Any:
        self._trunk.wear(self.name)
        return self._trunk.backbone(*inputs, **options)

    @property
    def backbone(self) -> nn.Module:
        return self._trunk.backbone

    def get_input_embeddings(self) -> nn.Module:
        """Return the trunk's, by which transformers knows a language model."""
        backbone: Any = self.backbone
        return backbone.get_input_embeddings()

    def _apply(self, fn: Any, recurse: bool = True) -> View:
        self._trunk.backbone._apply(fn, recurse)  # as where a network moves to another device
        return super()._apply(fn, recurse)


@contextmanager
def shared(
    policy: PreTrainedModel, reward: PreTrainedModel, adapter: Path, settings: Lora | Qlora, seed: int
) -> Iterator[Networks]:
    """Yield policy, value, reference and reward model on one trunk, the policy's.

    After the block the policy is plain again, and its adapter is part of its weights.

    adapter: the folder of the reward model's, if it has one. Raises InputError as `methods.applied` does.
    """
    known = (
        settings.kind == "lora"
        and (adapter / adapters.CONFIG).is_file()
        and stands_on(policy, reward, adapter)
    )
    with methods.applied(policy, settings, seed):
        own = LoraConfig.from_pretrained(str(adapter)) if known else _config(policy)
        torch.manual_seed(seed)
        for name in (VALUE, REWARD) if known else (VALUE,):
            inject_adapter_in_model(copy.deepcopy(own), policy, name)
            if known:
                _load(policy, adapter, name)
        backbone = policy.base_model
        trunk = Trunk(backbone.eval(), (POLICY, VALUE))
        trunk.wear(None)
        if known:
            setattr(reward, reward.base_model_prefix, View(trunk, REWARD))
            _let_go(access.score(reward))
        value = _shell(AutoModelForSequenceClassification, reward, View(trunk, VALUE))
        setattr(value, _head(reward), copy.deepcopy(access.score(reward)))
        access.score(value).requires_grad_(True)
        reference = _shell(AutoModelForCausalLM, policy, View(trunk, None))
        reference.set_output_embeddings(access.language_head(policy))
        setattr(policy, policy.base_model_prefix, View(trunk, POLICY))
        yield policy, value, reference, reward
        setattr(policy, policy.base_model_prefix, backbone)
        for layer in trunk.layers:
            for name in (VALUE, REWARD):
                if name in layer.lora_A:
                    layer.delete_adapter(name)
        trunk.wear(POLICY)


def backbone_of(network: PreTrainedModel) -> nn.Module:
    """Return the layers that the network computes with: those of the trunk, if it is a view of one."""
    base = network.base_model
    return base.backbone if isinstance(base, View) else base


@torch.no_grad()
def stands_on(policy: PreTrainedModel, reward: PreTrainedModel, adapter: Path) -> bool:
    """Return whether the reward model's backbone is the policy's with this adapter, but for rounding."""
    config: Any = LoraConfig.from_pretrained(str(adapter))
    tensors = load_file(adapter / adapters.WEIGHTS)
    mine = policy.base_model.state_dict()
    for name, weight in reward.base_model.state_dict().items():
        module = f"base_model.model.{policy.base_model_prefix}.{name.removesuffix('.weight')}"
        expected = mine[name]
        if f"{module}.lora_A.weight" in tensors:
            change = tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]
            change *= config.lora_alpha / config.r
            layer = policy.base_model.get_submodule(name.removesuffix(".weight"))
            expected = expected + (change.T if isinstance(layer, Conv1D) else change)
        if expected.shape != weight.shape or not torch.allclose(expected, weight, rtol=1e-4, atol=1e-5):
            return False
    return True


def _let_go(head: nn.Module) -> None:
    """Give the head memory of its own: as long as it lies in the file that it was read from, all of the file, which
    holds a whole network, stays mapped.
    """
    for values in head.parameters():
        values.data = values.data.clone()


def _config(policy: PreTrainedModel) -> LoraConfig:
    (config,) = vars(policy)["peft_config"].values()
    return config


@torch.no_grad()
def _load(policy: PreTrainedModel, adapter: Path, name: str) -> None:
    """Fill an adapter of the policy with what the folder has of the backbone's layers."""
    for key, tensor in load_file(adapter / adapters.WEIGHTS).items():
        path, lora, kind = key.removeprefix("base_model.model.").partition(".lora_")
        if lora:
            layer: Any = policy.get_submodule(path)
            getattr(layer, f"lora_{kind.removesuffix('.weight')}")[name].weight.copy_(tensor)


def _shell(kind: Any, network: PreTrainedModel, view: View) -> PreTrainedModel:
    """Return a network of this kind, configured as the other, without a weight of its own but its head's."""
    with torch.device("meta"):
        made = kind.from_config(network.config)
    setattr(made, made.base_model_prefix, view)
    return made.eval()


def _head(network: PreTrainedModel) -> str:
    (name,) = (name for name, _ in adapters.heads(network))
    return name
