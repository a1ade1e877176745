"""`python -m benchmarks.memory`: the memory that a training takes, beside what it was told to take before it began.

Trainings of a Llama of three sizes, of the middle one with activation checkpointing too; and an iteration of PPO with
four networks, and on one trunk, where the reward model is an adapter on the policy. Each row is a process of its own.
Measured is by how much its resident memory was ever larger than before it made or read a network.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from jokbo import params
from jokbo.alignment import memory as ppo_memory
from jokbo.alignment import ppo, trunk
from jokbo.alignment import reward as rewards
from jokbo.alignment.networks import Networks
from jokbo.models import causal
from jokbo.runtime.tracking import Run
from jokbo.training import engine, memory, methods
from jokbo.training.job import Job

LORA = params.Lora(kind="lora", rank=16, alpha=32.0, targets=["all-linear"], dropout=0.0)
PROMPT, RESPONSE, ROWS = 16, 40, 16  # tokens, tokens, prompts of the iteration
CONTEXT, STEPS = 128, 3  # the optimizer's state is there from the second step on


class Size(NamedTuple):
    layers: int
    hidden_size: int
    vocabulary: int
    batch: int  # sequences of a step


SIZES = {"small": Size(4, 256, 4096, 32), "middle": Size(8, 512, 8192, 16), "large": Size(12, 768, 16384, 8)}


class Told(NamedTuple):
    """A row of the table, bytes."""

    parameters: int
    estimate: int
    measured: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="names of rows; not given: all")
    chosen = parser.parse_args().rows
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(
        ["jokbo.alignment.memory", "jokbo.alignment.trunk"]
    )  # with what those import
    print(f"{'fp32, AdamW':<30}{'parameters':>12}{'estimate':>12}{'measured':>12}{'ratio':>8}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows: dict[str, tuple[Any, ...]] = {
            f"training, {name}": (trained, size, False) for name, size in SIZES.items()
        }
        rows["training, middle, checkpointed"] = (trained, SIZES["middle"], True)
        rows |= {f"PPO, {way}": (aligned, Path(folder), way) for way in WAYS}
        with processes.Pool(1) as pool:
            pool.apply(made, (Path(folder), SIZES["middle"]))
        for name, (work, *given) in rows.items():
            if chosen and name not in chosen:
                continue
            with processes.Pool(1) as pool:
                row: Told = pool.apply(work, given)
            sizes = "".join(f"{count / 1e6:>9,.0f} MB" for count in row[1:])
            print(f"{name:<30}{row.parameters:>12,}{sizes}{row.estimate / row.measured:>8.2f}", flush=True)


def trained(size: Size, checkpointing: bool) -> Told:
    """Return what a few steps of pretraining take, with or without activation checkpointing."""
    settings, before = begun(), resident()
    compute = settings.compute.model_copy(update={"activation_checkpointing": checkpointing})
    network = causal.build(configuration(size), seed=1)
    assert settings.pretrain.training is not None
    assert isinstance(settings.reward, params.Reward)
    adamw = settings.reward.training.optimizer
    own = {
        "steps": STEPS,
        "warmup_steps": 0,
        "batch_size": size.batch,
        "precision": "fp32",
        "optimizer": adamw,
    }
    training = settings.pretrain.training.model_copy(update=own)
    objective, job = causal.NextToken(network), Job("training", 1, compute, Run(), None)

    def batch_at(step: int) -> dict[str, Tensor]:
        tokens_BS = torch.randint(2, size.vocabulary, (size.batch, CONTEXT + 1))
        return causal.packed_rows(tokens_BS, "joined", end_of_text=0, padding=1)

    need = memory.check(objective, batch_at, training, job)
    engine.train(objective, batch_at, training, job)
    return Told(network.num_parameters(), need.total, resident() - before)


def made(folder: Path, size: Size) -> None:
    """Save a policy, and a reward model that is an adapter on it."""
    policy = causal.build(configuration(size), seed=1)
    policy.save_pretrained(folder / "policy")
    reward = rewards.on_policy(policy, seed=1)
    with methods.applied(reward, LORA, 1):
        pass  # an adapter that has learned nothing takes as much memory
    reward.config.reward_mean, reward.config.reward_std = 0.0, 1.0
    reward.save_pretrained(folder / "reward")
    adapter = methods.adapter_of(reward)
    assert adapter is not None
    adapter.save(folder / "reward" / methods.ADAPTER, folder / "policy")


def aligned(folder: Path, way: str) -> Told:
    """Return what an iteration of PPO takes this way."""
    settings, before = begun(), resident()
    assert isinstance(settings.align, params.Ppo)
    own = {"iterations": 1, "rollout_batch": ROWS, "minibatch": ROWS, "value_rollouts": 1, "epochs": 2}
    own |= {"value_warmup": 0, "pretraining_mix": None}
    method, networks = WAYS[way]
    align = settings.align.model_copy(update={**own, "precision": "fp32", "method": method})
    with networks(folder) as found:
        whole = Networks(*found, RESPONSE, ROWS)
        asked = torch.randint(2, 100, (4 * ROWS, PROMPT))
        job = Job("PPO", 1, settings.compute, Run(), None)
        need = ppo_memory.check(whole, asked, align, job)
        ppo.align(whole, asked, align, job)
        return Told(whole.policy.num_parameters(), need.total, resident() - before)


def begun() -> params.Params:
    """Return the settings, with everything that a training imports."""
    torch.set_num_threads(1)
    return params.load()


def configuration(size: Size) -> Any:
    start = params.Scratch(
        kind="scratch",
        architecture="llama",
        layers=size.layers,
        hidden_size=size.hidden_size,
        heads=8,
        context=CONTEXT,
        dropout=0.0,
    )
    return causal.configuration(start, vocabulary=size.vocabulary, end_of_text=0, padding=1)


def resident() -> int:
    """Return the most bytes of memory that this process ever held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _policy(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32)


def _reward(folder: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder / "reward", dtype=torch.float32)


@contextmanager
def four(folder: Path, method: params.Method = params.FULL) -> Iterator[trunk.Four]:
    policy, value, reference, reward = (read(folder) for read in (_policy, _reward, _policy, _reward))
    with methods.applied(policy, method, 1), methods.applied(value, method, 1):
        yield policy, value, reference, reward


def one(folder: Path) -> AbstractContextManager[trunk.Four]:
    return trunk.shared(_policy(folder), _reward(folder), folder / "reward" / methods.ADAPTER, LORA, 1)


WAYS: Mapping[str, tuple[params.Method, Callable[[Path], AbstractContextManager[trunk.Four]]]] = {
    "all weights, four networks": (params.FULL, four),
    "adapters, four networks": (LORA, lambda folder: four(folder, LORA)),
    "adapters, one trunk": (LORA, one),
}


if __name__ == "__main__":
    main()
