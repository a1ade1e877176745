"""PPO's networks on one trunk compute what they would compute alone, and what one learns is its own."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from jokbo.alignment import ppo, trunk
from jokbo.alignment import reward as rewards_
from jokbo.models import access
from jokbo.runtime.tracking import Run
from jokbo.sampling import response_log_probs, response_states
from jokbo.training import engine, methods
from jokbo.training.job import Job
from tests.alignment.test_ppo import ANSWER, PROMPT, networks, ppo_settings
from tests.support.networks import compute, lora, network, tokens, training
from tests.training.test_activations import counted
from tests.training.test_methods import compared, four_bits

TEXTS = tokens(6, 12, seed=5)


class NoTokenizer:
    def save_pretrained(self, folder: Path) -> None:
        pass


def reward_model(folder: Path, architecture: str, kind: str) -> PreTrainedModel:
    """Return a reward model of `network`, trained for a few steps, and save it in the folder."""
    model = rewards_.on_policy(network(architecture), seed=0)
    settings = training(4, method=lora(rank=2, kind=kind))
    engine.train(rewards_.Compare(model), compared, settings, Job("reward", 1, compute(), Run(), None))
    model.config.reward_mean, model.config.reward_std = 0.1, 2.0
    engine.save_network(model, NoTokenizer(), folder, [], Path("models/policy"))
    return model


@contextmanager
def on_one_trunk(
    folder: Path, *, architecture: str = "llama", of_reward: str = "lora", kind: str = "lora"
) -> Iterator:
    reward = reward_model(folder / "reward", architecture, of_reward)
    alone = rewards_.rewards(reward, TEXTS)
    adapter = folder / "reward/adapter"
    with trunk.shared(network(architecture), reward, adapter, lora(kind=kind), 1) as networks:
        yield networks, alone


@torch.no_grad()
def log_probs(policy: PreTrainedModel) -> Tensor:
    return response_log_probs(policy, TEXTS, PROMPT, 1.0)


@pytest.mark.parametrize("of_reward", ["lora", "full"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_each_computes_what_it_would_compute_alone(tmp_path: Path, architecture: str, of_reward: str) -> None:
    plain = network(architecture).eval()
    with on_one_trunk(tmp_path, architecture=architecture, of_reward=of_reward) as (networks, alone):
        policy, value, reference, reward = networks
        for each in (policy, reference):
            torch.testing.assert_close(log_probs(each), log_probs(plain))
        torch.testing.assert_close(rewards_.rewards(reward, TEXTS), alone, rtol=1e-4, atol=1e-4)
        begun = reward if of_reward == "lora" else plain
        with torch.no_grad():
            states = [response_states(each, TEXTS, PROMPT) for each in (value, begun)]
        torch.testing.assert_close(*states)
        assert isinstance(reward.base_model, trunk.View) == (of_reward == "lora")


@pytest.mark.parametrize("kind", ["lora", four_bits])
def test_what_it_learns_is_the_policys_and_the_values_own(tmp_path: Path, kind: str) -> None:
    with on_one_trunk(tmp_path, kind=kind) as (networks, _):
        policy, value, reference, reward = networks
        before = [log_probs(reference), rewards_.rewards(reward, TEXTS), log_probs(policy)]
        settings = ppo_settings(iterations=3)
        mine = ppo.Networks(*networks, ANSWER, settings.minibatch)
        history = ppo.align(
            mine, tokens(40, PROMPT), settings, Job("ppo", 1, compute(), Run(), tmp_path / "kept")
        )
        assert history[0]["kl"] == pytest.approx(0.0, abs=1e-4)
        torch.testing.assert_close(log_probs(reference), before[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(rewards_.rewards(reward, TEXTS), before[1], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(log_probs(policy), before[2], atol=1e-3)
        learned = log_probs(policy)
        assert access.score(value).weight.requires_grad
    assert not any("lora" in name for name, _ in policy.named_modules())
    torch.testing.assert_close(log_probs(policy), learned, rtol=1e-4, atol=1e-4)
    assert methods.adapter_of(policy) is not None


def test_each_engine_holds_its_adapter_and_its_heads_alone(tmp_path: Path) -> None:
    with on_one_trunk(tmp_path) as (networks, _):
        settings = ppo_settings()
        engines = ppo.start(ppo.Networks(*networks, ANSWER, settings.minibatch), PROMPT, settings, compute())
        learns = {
            name: sum(each.numel() for each in started.module.parameters() if each.requires_grad)
            for name, started in engines.items()
        }
        whole = sum(each.numel() for each in network().parameters())
        assert 0 < learns["policy"] < whole / 2
        assert 0 < learns["value"] < whole / 2


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which files are mapped")
def test_the_file_of_the_reward_model_is_not_held(tmp_path: Path) -> None:
    """All of its backbone would stay in memory for the sake of its head."""
    reward_model(tmp_path / "reward", "llama", "lora")
    reward = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward")
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    with trunk.shared(network("llama"), reward, tmp_path / "reward/adapter", lora(), 1):
        gc.collect()
        assert str(tmp_path) not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_layers_that_are_computed_again_teach_the_same(tmp_path: Path, method: str) -> None:
    """Of four networks, and of a trunk whose layers both engines read."""
    found = []
    for again in (False, True):
        job = Job("ppo", 1, compute(activation_checkpointing=again), Run(), None)
        settings = ppo_settings(iterations=2)
        with on_one_trunk(tmp_path / str(again)) as (shared, _):
            own = ppo.Networks(*shared, ANSWER, settings.minibatch) if method == "lora" else networks()
            passes = counted(trunk.backbone_of(own.policy))
            history = ppo.align(own, tokens(40, PROMPT), settings, job)
            found.append((history, log_probs(own.policy), len(passes)))
    (plain, before, once), (again, after, more) = found
    assert more > once
    for one, other in zip(plain, again, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-5)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
