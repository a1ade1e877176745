"""A network that was trained by adapters is a network as any other, and its adapter on its base is the same network."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
)

from jokbo.alignment import reward
from jokbo.models import access, causal, heads
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run
from jokbo.training import engine, methods, quantised
from jokbo.training.job import Job
from tests.support.networks import compute, lora, network, tokens, training
from tests.training.test_engine import STEPS, batch_at, stop_in, train

ROOT = Path(__file__).parents[2]
four_bits = pytest.param(
    "qlora",
    marks=pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"),
)


def by(kind: str, **changes: object):
    return training(STEPS, method=lora(kind=kind, **changes))


class NoTokenizer:
    def save_pretrained(self, folder: Path) -> None:
        pass


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    return model.eval()(input_ids=tokens(4, seed=9)).logits


@pytest.mark.parametrize("kind", ["lora", four_bits])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_model_is_plain_and_its_adapter_on_its_base_is_the_same(
    tmp_path: Path, architecture: str, kind: str
) -> None:
    base, model = network(architecture, seed=3), network(architecture, seed=3)
    base.save_pretrained(tmp_path / "base")
    plain = {name: value.clone() for name, value in base.state_dict().items()}
    train(None, model=model, settings=by(kind))
    engine.save_network(model, NoTokenizer(), tmp_path / "made", [tmp_path / "base"], tmp_path / "base")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    assert type(found) is type(base)
    assert {name: value.shape for name, value in found.state_dict().items()} == {
        name: value.shape for name, value in plain.items()
    }
    assert torch.equal(found.get_input_embeddings().weight, base.get_input_embeddings().weight)
    config = json.loads((tmp_path / "made/adapter/adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])  # the same bytes each time
    how = {}
    if kind == "qlora":
        four = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
        )
        how = {"quantization_config": four}
    with_adapter = AutoModelForCausalLM.from_pretrained(tmp_path / "made/adapter", **how)
    for module in with_adapter.modules():  # its kernel for evaluation on CPUs asks for rows by the 32
        module.support_avx512bf16_for_cpu = False
    torch.testing.assert_close(logits(with_adapter), logits(found), rtol=1e-4, atol=1e-4)
    assert (logits(found) - logits(base)).abs().max() > 0.1
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_fresh_adapter_changes_nothing_and_all_but_adapters_stays() -> None:
    model, plain = network(seed=3), network(seed=3)
    settings = by("lora", targets=["q_proj", "mlp.down_proj"])
    with methods.applied(causal.NextToken(model), settings.method, 0):
        assert torch.equal(logits(model), logits(plain))
        learns = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name.split(".")[-4] for name in learns} == {"q_proj", "down_proj"}
    train(None, model=model, settings=settings)
    changed = {
        name for name, value in plain.state_dict().items() if not torch.equal(value, model.state_dict()[name])
    }
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "down_proj"}
    assert all(model.state_dict()[name].shape == value.shape for name, value in plain.state_dict().items())


def compared(step: int) -> engine.Batch:
    return {"preferred_BS": tokens(8, 12, seed=step), "rejected_BS": tokens(8, 12, seed=100 + step)}


@pytest.mark.parametrize("kind", ["lora", four_bits])
def test_the_fresh_layer_of_a_reward_model_learns_whole_and_is_part_of_the_adapter(
    tmp_path: Path, kind: str
) -> None:
    policy = network(seed=3)
    policy.save_pretrained(tmp_path / "policy")
    model = reward.on_policy(policy, seed=0)
    before = access.score(model).weight.clone()
    job = Job("reward", 1, compute(), Run(), None)
    engine.train(reward.Compare(model), compared, by(kind), job)
    assert not torch.equal(access.score(model).weight, before)
    engine.save_network(model, NoTokenizer(), tmp_path / "reward", [], tmp_path / "policy")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "policy", num_labels=1)
    if kind == "qlora":  # what stands beside the adapter is what 4 bits made of the policy
        quantised.quantise(again)
        again.is_loaded_in_4bit = True
    again = PeftModel.from_pretrained(again, str(tmp_path / "reward/adapter")).eval()
    texts = tokens(4, 12, seed=7)
    rewards = heads.outputs(model, texts)
    with torch.no_grad():
        mine = again.score(again.base_model.model.model(input_ids=texts).last_hidden_state[:, -1])
    torch.testing.assert_close(mine, rewards, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "zero_stage"),
    [
        ("lora", 0),
        ("lora", 2),
        ("lora", 3),
        *(pytest.param("qlora", zero, marks=four_bits.marks) for zero in (0, 2)),
    ],
)
def test_stopped_it_goes_on_bit_for_bit(tmp_path: Path, kind: str, zero_stage: int) -> None:
    settings = by(kind, dropout=0.3)
    undisturbed = train(tmp_path / "undisturbed", settings=settings, zero_stage=zero_stage)
    stop_in(4, tmp_path / "stopped", settings=settings, zero_stage=zero_stage)
    history, weights = train(tmp_path / "stopped", settings=settings, zero_stage=zero_stage)
    assert history == undisturbed[0]
    assert all(torch.equal(*pair) for pair in zip(weights, undisturbed[1], strict=True))


KILLED = """
import sys
from pathlib import Path
from tests.training.test_methods import by
from tests.training.test_engine import train
train(Path(sys.argv[1]), settings=by("lora", dropout=0.3), checkpoint_seconds=0.0)
"""


def test_killed_it_goes_on_bit_for_bit(tmp_path: Path) -> None:
    undisturbed = train(tmp_path / "undisturbed", settings=by("lora", dropout=0.3))
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT)
    while not list(folder.glob("step-00000003")):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    asked: list[int] = []

    def read_if_there(step: int) -> engine.Batch:
        asked.append(step)
        return batch_at(step)

    history, weights = train(folder, batches=read_if_there, settings=by("lora", dropout=0.3))
    assert asked[:1] != [0]
    assert history == undisturbed[0]
    assert all(torch.equal(*pair) for pair in zip(weights, undisturbed[1], strict=True))


def test_a_checkpoint_holds_what_learns_alone(tmp_path: Path) -> None:
    train(tmp_path / "full", settings=training(STEPS))
    train(tmp_path / "lora", settings=by("lora", rank=1))
    sizes = {
        name: max(path.stat().st_size for path in (tmp_path / name).rglob("mp_rank_00_model_states.pt"))
        for name in ("full", "lora")
    }
    assert sizes["lora"] < sizes["full"] / 2


@pytest.mark.parametrize("kind", ["lora", four_bits])
def test_targets_that_name_no_layer_are_refused_before_anything_is_trained(tmp_path: Path, kind: str) -> None:
    def never(step: int) -> engine.Batch:
        raise AssertionError

    with pytest.raises(
        InputError, match=r"^no linear layer is called q_prj: there are down_proj, gate_proj,"
    ):
        train(tmp_path, batches=never, settings=by(kind, targets=["v_proj", "q_prj"]))


WITHOUT = """
import sys
sys.modules["bitsandbytes"] = None
from tests.training import test_methods
test_methods.train(None, settings=test_methods.by("qlora"))
"""


def test_4_bits_without_bitsandbytes_are_refused_before_anything_is_trained() -> None:
    found = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True)
    told = found.stderr.splitlines()[-1]
    assert "InputError: bitsandbytes cannot hold weights in 4 bits here (" in told
    assert told.endswith("install bitsandbytes, or choose lora")
    assert "1/8" not in found.stdout
