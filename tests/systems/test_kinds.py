"""What params.yaml may say of a system is what its file can do."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import torch
from transformers import PreTrainedModel
from typing_extensions import get_protocol_members

from jokbo.params.systems import KINDS
from jokbo.systems import protocol
from jokbo.systems.common import Size
from tests.systems import all_systems
from tests.systems.all_systems import NAMES, SPECIAL_TOKENS, module_of, size_of, text

NOT_HERE = {  # what a file reads but the family does not vary
    "mass": {"norm"},  # of the Transformer that it is
    "xlm": {"languages"},  # 15 in the paper, 2 here
}
OPTIONAL = (  # key and value of params.yaml, and what the file then has to bring
    ("schedule", "noam", protocol.Noam),
    ("schedule", "one_cycle", protocol.OneCycle),
    ("finetune", "gradual", protocol.Gradual),
    ("neuron", Literal[True], protocol.OneNeuron),
    ("last", Literal[True], protocol.Decoder),
)


class Noting(dict):
    """The `more` of a size, which notes what is asked for."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


class NotingSize(Size):
    """A size that notes which of its fields are asked for."""

    def __getattribute__(self, name: str) -> Any:
        if name in Size.__dataclass_fields__:
            object.__getattribute__(self, "__dict__").setdefault("asked", set()).add(name)
        return object.__getattribute__(self, name)


def allowed(module: str, field: str) -> set[Any]:
    annotation = KINDS[module].model_fields[field].annotation
    return {*get_args(annotation)} - {type(None)}


@pytest.mark.parametrize("name", NAMES)
def test_every_system_is_what_the_protocol_says_and_takes_what_it_says(name: str) -> None:
    module = module_of(name)
    assert isinstance(module, protocol.SystemModule)
    for brought in (protocol.SystemModule, *(each for _, _, each in OPTIONAL)):
        for function in functions_of(brought) if isinstance(module, brought) else ():
            asked = [*inspect.signature(getattr(brought, function)).parameters][1:]
            taken = inspect.signature(getattr(module, function)).parameters
            assert [*taken][: len(asked)] == asked, function
            assert all(each.default is not each.empty for each in [*taken.values()][len(asked) :]), function


def functions_of(brought: type) -> set[str]:
    return {member for member in get_protocol_members(brought) if callable(getattr(brought, member, None))}


def test_every_system_has_a_kind() -> None:
    assert set(KINDS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_kind_allows_is_what_its_file_has(name: str) -> None:
    module = module_of(name)
    for field, value, brought in OPTIONAL:
        assert (value in allowed(name, field)) == isinstance(module, brought), field


@pytest.mark.parametrize("name", NAMES)
def test_what_a_kind_takes_is_what_its_network_reads(name: str, tmp_path: Path) -> None:
    """The keys of `more`; heads and layers, or 1 where it reads none; revisions, if its class opens it again."""
    own = size_of(name, tmp_path)
    size = NotingSize(**{**vars(own), "more": Noting(own.more)})
    network = module_of(name).network(size, SPECIAL_TOKENS, 1)
    keys = {*KINDS[name].model_fields["more"].annotation.model_fields}
    assert keys == size.more.asked - NOT_HERE.get(name, set())
    for field in ("heads", "layers"):
        assert (allowed(name, field) == {1}) == (field not in vars(size)["asked"])
    assert bool(allowed(name, "revisions")) == isinstance(network, PreTrainedModel)


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_needs_special_tokens_if_its_file_reads_them(name: str, tmp_path: Path) -> None:
    bare = replace(SPECIAL_TOKENS, cls=-1, sep=-1, mask=-1, unknown=-1)
    module, size = module_of(name), size_of(name, tmp_path)
    network = module.network(size, bare, 1)

    def step() -> None:
        module.Objective(network, bare)(
            **module.batch(replace(text(), special_tokens=bare), 0, 4, size.context, 1)
        )
        module.features(network, torch.full((2, 8), 9), bare)

    if KINDS[name].NEEDS_SPECIAL_TOKENS:
        with pytest.raises(IndexError):
            step()
    else:
        step()


@pytest.mark.parametrize("name", NAMES)
def test_the_least_that_a_kind_allows_can_be_trained(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A context of 8, a hidden size of 2, and an odd number of layers where one may choose."""
    least = replace(all_systems.running_text.SIZE, context=8, hidden_size=2, heads=1)
    monkeypatch.setattr(all_systems.running_text, "SIZE", least)
    module, size = module_of(name), size_of(name, tmp_path)
    objective = module.Objective(module.network(size, SPECIAL_TOKENS, 1), SPECIAL_TOKENS)
    loss, _ = objective(**module.batch(text(), 0, 4, size.context, 1))
    assert torch.isfinite(loss)
