"""How a network is trained that was given: all of its weights, or adapters beside them (`method`).

A training puts on what its method needs and takes it off again. So what was trained is a network as any other, whatever
the method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from jokbo.params import Full, Lora, Method, Qlora
    from jokbo.training.adapters import Adapter

ADAPTER = "adapter"  # its folder, in that of a model
LEARNED = "learned_adapter"  # the attribute of a network that holds it


class Kind(Protocol):
    """Within it a network learns as the settings say; after it the network is as it was before, but for what it
    learned. An error takes nothing off."""

    def __call__(
        self, network: PreTrainedModel, settings: Any, seed: int
    ) -> AbstractContextManager[None]: ...


@contextmanager
def full(network: PreTrainedModel, settings: Full, seed: int) -> Iterator[None]:
    """Train all weights."""
    yield


@contextmanager
def lora(network: PreTrainedModel, settings: Lora, seed: int) -> Iterator[None]:
    """Train adapters, which are then added to the weights. InputError if a target names no layer."""
    from jokbo.training import adapters  # peft takes seconds to import

    tuner = adapters.put_on(network, settings, seed)
    yield
    learned = adapters.taken(tuner, network)
    adapters.merge(tuner, network)
    setattr(network, LEARNED, learned)


@contextmanager
def qlora(network: PreTrainedModel, settings: Qlora, seed: int) -> Iterator[None]:
    """Train adapters beside weights in 4 bits, which are then given back as they were computed with, and the adapters
    added to them. InputError if a target names no layer, or where bitsandbytes cannot work."""
    from jokbo.training import adapters, quantised

    quantised.check()
    adapters.targeted(adapters.layers(network), settings.targets)
    kinds = {name: type(layer) for name, layer in adapters.layers(network).items()}
    quantised.quantise(network)
    vars(network)["is_loaded_in_4bit"] = True  # peft asks for it
    tuner = adapters.put_on(network, settings, seed)
    yield
    learned, changes = adapters.taken(tuner, network), adapters.changes(network)
    tuner.unload()
    del vars(network)["is_loaded_in_4bit"]
    quantised.restore(network, kinds)
    for name, change in changes.items():
        weight = network.get_submodule(name).weight
        assert isinstance(weight, nn.Parameter)
        weight.data += change.T if kinds[name] is not nn.Linear else change
    adapters.forget(network)
    setattr(network, LEARNED, learned)


KINDS: Mapping[str, Kind] = {"full": full, "lora": lora, "qlora": qlora}


@contextmanager
def applied(objective: nn.Module, method: Method, seed: int) -> Iterator[None]:
    """Train the network of the objective as the method says, within the block."""
    if method.kind == "full":
        yield
        return
    network = next(each for each in objective.modules() if isinstance(each, PreTrainedModel))
    with KINDS[method.kind](network, method, seed):
        yield


def adapter_of(network: PreTrainedModel) -> Adapter | None:
    """Return the adapter that the network was trained by and that is part of its weights now; None if there is none."""
    return getattr(network, LEARNED, None)
