"""What holds for every system: its interface, and what is saved of it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from jokbo.systems import common
from jokbo.training import processes
from tests.systems import all_systems
from tests.systems.all_systems import MORE, NAMES, SPECIAL_TOKENS, module_of, size_of
from tests.systems.running_text import SIZE, random_tokens, same

SHARED = {"__init__", "common", "masking", "noise", "protocol"}
SYSTEMS = pytest.mark.parametrize("name", NAMES)


def test_every_paper_is_here_and_builds_on_one_other_at_most() -> None:
    files = {file.stem: file.read_text() for file in Path(common.__file__).parent.glob("*.py")}
    assert files.keys() - SHARED == set(MORE)
    for name, source in files.items():
        imported = set(re.findall(r"^from jokbo\.systems\.(\w+) import", source, re.MULTILINE))
        for names in re.findall(r"^from jokbo\.systems import (.+)", source, re.MULTILINE):
            imported |= set(names.split(", "))
        assert len(imported - SHARED) <= (name not in SHARED), name


@SYSTEMS
def test_a_metric_is_in_nats(name: str, tmp_path: Path) -> None:
    """Untrained, tokens are guessed about as well as by chance."""
    system = module_of(name)
    network = system.network(size_of(name, tmp_path), SPECIAL_TOKENS, 0).eval()
    batch = system.batch(all_systems.text(), 0, 8, SIZE.context, 0)
    loss, metrics = system.Objective(network, SPECIAL_TOKENS)(**batch)
    nats = {"loss": loss, **metrics}[system.NATS]
    assert nats.ndim == 0
    vocabulary = SIZE.vocabulary + (100 if name == "t5" else 0)
    assert 0.8 * np.log(SIZE.vocabulary) < nats.item() < (5 if name == "t5" else 1.3) * np.log(vocabulary)


@SYSTEMS
def test_features_are_a_vector_a_row_in_bf16_too(name: str, tmp_path: Path) -> None:
    system, tokens_BT = module_of(name), random_tokens(3, 9)
    network = system.network(size_of(name, tmp_path), SPECIAL_TOKENS, 0).eval()
    features_BD = system.features(network, tokens_BT, SPECIAL_TOKENS)
    assert features_BD.ndim == 2
    assert len(features_BD) == 3
    with processes.autocast("bf16"):  # where the machine has it
        rounded_BD = system.features(network, tokens_BT, SPECIAL_TOKENS)
    torch.testing.assert_close(rounded_BD.float(), features_BD, rtol=0.1, atol=0.05)
    rounded_BD.float().square().sum().backward()
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@SYSTEMS
def test_a_saved_network_is_whole(name: str, tmp_path: Path) -> None:
    system = module_of(name)
    network = system.network(size_of(name, tmp_path / "teacher"), SPECIAL_TOKENS, 0)
    common.save(network, tmp_path / name)
    assert (tmp_path / name / "model.safetensors").exists()
    if not hasattr(network, "save_pretrained"):  # transformers opens the others: their own tests
        opened = common.load(system.network, SPECIAL_TOKENS, tmp_path / name)
        assert same(opened.state_dict(), network.state_dict())
        assert not same(opened.state_dict(), system.network(network.size, SPECIAL_TOKENS, 1).state_dict())


def test_sinusoids_are_those_of_the_transformers_paper() -> None:
    found = common.sinusoids(50, 8)
    for position in (0, 1, 17, 49):
        for pair in range(4):
            angle = position / 10000 ** (2 * pair / 8)
            assert found[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert found[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)
