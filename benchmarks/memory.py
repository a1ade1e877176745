"""`python -m benchmarks.memory`: peak memory of PPO with four networks and on one trunk.

The same Llama of fresh weights and a reward model that is an adapter on it; one iteration. Each way is a process of its
own, and counts by how much its resident memory was ever larger than before it read a network.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from jokbo import params
from jokbo.alignment import ppo, trunk
from jokbo.alignment import reward as rewards
from jokbo.models import causal
from jokbo.runtime.tracking import Run
from jokbo.training import methods
from jokbo.training.job import Job

LORA = params.Lora(kind="lora", rank=16, alpha=32.0, targets=["all-linear"], dropout=0.0)
PROMPT, RESPONSE, ROWS = 16, 40, 16  # tokens, tokens, prompts of the iteration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=8192)
    sizes = vars(parser.parse_args())
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with processes.Pool(1) as pool:
            count = pool.apply(made, (Path(folder), sizes))
        print(f"PPO of a Llama of {count:,} parameters, {ROWS} prompts, fp32", flush=True)
        for way in WAYS:
            with processes.Pool(1) as pool:
                print(f"  {way:<32}{pool.apply(peak, (Path(folder), way)) / 1e6:>10,.0f} MB", flush=True)


def made(folder: Path, sizes: Mapping[str, int]) -> int:
    """Save the policy and the reward model; return the policy's number of parameters."""
    start = params.Scratch(
        kind="scratch",
        architecture="llama",
        layers=sizes["layers"],
        hidden_size=sizes["hidden_size"],
        heads=8,
        context=128,
        dropout=0.0,
    )
    config = causal.configuration(start, vocabulary=sizes["vocabulary"], end_of_text=0, padding=1)
    policy = causal.build(config, seed=1)
    policy.save_pretrained(folder / "policy")
    reward = rewards.on_policy(policy, seed=1)
    with methods.applied(reward, LORA, 1):
        pass  # an adapter that has learned nothing takes as much memory
    reward.config.reward_mean, reward.config.reward_std = 0.0, 1.0
    reward.save_pretrained(folder / "reward")
    adapter = methods.adapter_of(reward)
    assert adapter is not None
    adapter.save(folder / "reward" / methods.ADAPTER, folder / "policy")
    return policy.num_parameters()


def peak(folder: Path, way: str) -> int:
    """Return the bytes of resident memory that an iteration of PPO ever takes this way."""
    torch.set_num_threads(1)
    settings = params.load()
    assert isinstance(settings.align, params.Ppo)
    own = {"iterations": 1, "rollout_batch": ROWS, "minibatch": ROWS, "value_rollouts": 1, "epochs": 1}
    own |= {"value_warmup": 0, "pretraining_mix": None}
    align = settings.align.model_copy(update={**own, "precision": "fp32"})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with WAYS[way](folder) as networks:
        found = ppo.Networks(*networks, RESPONSE, ROWS)
        asked = torch.randint(2, 100, (4 * ROWS, PROMPT))
        ppo.align(found, asked, align, Job("ppo", 1, settings.compute, Run(), None))
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def _policy(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32)


def _reward(folder: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder / "reward", dtype=torch.float32)


@contextmanager
def four(folder: Path, method: params.Method = params.FULL) -> Iterator[trunk.Networks]:
    policy, value, reference, reward = (read(folder) for read in (_policy, _reward, _policy, _reward))
    with methods.applied(policy, method, 1), methods.applied(value, method, 1):
        yield policy, value, reference, reward


Way = Callable[[Path], AbstractContextManager[trunk.Networks]]
WAYS: Mapping[str, Way] = {
    "all weights, four networks": four,
    "adapters, four networks": lambda folder: four(folder, LORA),
    "adapters, one trunk": lambda folder: trunk.shared(
        _policy(folder), _reward(folder), folder / "reward" / methods.ADAPTER, LORA, 1
    ),
}


if __name__ == "__main__":
    main()
