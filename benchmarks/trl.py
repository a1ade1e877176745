"""`python -m benchmarks.trl`: episodes a second of PPO, beside those of TRL's experimental PPOTrainer.

Both start from what the last run of this folder left (models/policy, models/reward, data/prompts) and do the same
number of iterations, with `align` of params.yaml but for SIZE: the same networks, prompts, response length, precision,
cores, and attention. The first iteration of each is left out. They take turns, and the table has the median iteration.
TRL comes by `pip install --no-deps trl==1.10.0`. Run it on a quiet machine.

What differs: TRL has one optimizer for policy and value, and computes responses to their full length.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    TrainerCallback,
)

from flows.command import one_line
from jokbo import params
from jokbo.alignment import ppo
from jokbo.alignment.networks import Networks
from jokbo.data.prompts import Prompts
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run
from jokbo.training import engine, processes
from jokbo.training.job import Job
from tasks.frame.paths import POLICY, PROMPTS, REWARD
from tasks.frame.stage import state

TURNS = 2  # of each
SIZE = {"rollout_batch": 64, "minibatch": 32, "epochs": 4}
PARTS = {"rollout": "collect", "updates": "update"}  # of an iteration -> its function in jokbo.alignment.ppo


def main(iterations: int) -> None:
    settings = params.load()
    align = settings.align
    if not isinstance(align, params.Ppo) or not isinstance(align.method, params.Full):
        raise InputError("params.yaml: align: this benchmark is of kind ppo with method full")
    own = {"iterations": iterations, "rollouts_every": 1, "value_rollouts": 1, "value_warmup": 0}
    own |= {"gae_lambda": 0.95, "gae_alpha": None}  # what TRL has
    align = align.model_copy(update=SIZE | own)
    asked = Prompts.open(PROMPTS / "prompts", prompts_per_text=align.prompts_per_text)
    seconds: dict[str, list[float]] = {"jokbo": [], "TRL": []}
    parts: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(TURNS):
        seconds["jokbo"] += ours(align, settings, asked, parts)
        seconds["TRL"] += theirs(align, asked, state() / "benchmarks" / "trl")
    table = Table("PPO", "iterations", "seconds an iteration", "least", "most", "episodes a second")
    for name, found in seconds.items():
        numbers = (median(found), min(found), max(found))
        speed = f"{align.rollout_batch / numbers[0]:.1f}"
        table.add_row(name, str(len(found)), *(f"{number:.2f}" for number in numbers), speed)
    Console().print(table)
    shares = (f"{part} {sum(found) / sum(seconds['jokbo']):.0%}" for part, found in parts.items())
    print(f"Of jokbo's time: {', '.join(shares)}")
    print(f"TRL's time an iteration / jokbo's: {median(seconds['TRL']) / median(seconds['jokbo']):.2f}")


def _opened(kind: Any, path: Path) -> PreTrainedModel:
    network = kind.from_pretrained(path, dtype=torch.float32)
    engine.prefer_attention(network)
    return network


_policy = partial(_opened, AutoModelForCausalLM, POLICY)
_scores = partial(_opened, AutoModelForSequenceClassification, REWARD)


def ours(
    align: params.Ppo, settings: params.Params, asked: Prompts, parts: dict[str, list[float]]
) -> list[float]:
    """Return the seconds of each iteration but the first; those of its parts are added to `parts`."""
    networks = Networks(_policy(), _scores(), _policy(), _scores(), asked.response_tokens, align.minibatch)
    ends: list[float] = []
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    plain = {name: getattr(ppo, name) for name in PARTS.values()}
    for part, name in PARTS.items():
        setattr(ppo, name, partial(_timed, plain[name], found[part]))
    try:
        job = Job("align", align.seed, settings.compute, Run(), None)
        ppo.align(
            networks, asked.prompts_NP, align, job, lambda iteration, seen: ends.append(time.perf_counter())
        )
    finally:
        for name, function in plain.items():
            setattr(ppo, name, function)
    for part, measured in found.items():
        parts[part] += measured[-(len(ends) - 1) :]
    return _between(ends)


def _timed(work: Callable[..., Any], seconds: list[float], *given: Any, **named: Any) -> Any:
    began = time.perf_counter()
    made = work(*given, **named)
    seconds.append(time.perf_counter() - began)
    return made


class Ends(TrainerCallback):
    """Notes when each iteration ends."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.at.append(time.perf_counter())


def theirs(align: params.Ppo, asked: Prompts, folder: Path) -> list[float]:
    """Return the seconds of each of TRL's iterations but the first."""
    try:
        from trl.experimental.ppo import PPOConfig, PPOTrainer  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(f"{error}: `pip install --no-deps trl==1.10.0`") from error
    rate, tokenizer = align.policy_optimizer.learning_rate, AutoTokenizer.from_pretrained(POLICY)
    tokenizer.padding_side = "left"
    arguments = PPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=align.rollout_batch,
        num_mini_batches=align.rollout_batch // align.minibatch,
        num_ppo_epochs=align.epochs,
        total_episodes=align.rollout_batch * align.iterations,
        local_rollout_forward_batch_size=align.minibatch,
        response_length=asked.response_tokens,
        temperature=align.temperature,
        stop_token="eos",
        missing_eos_penalty=align.unfinished_penalty or None,
        kl_coef=align.kl_coefficient,
        gamma=align.discount,
        lam=align.gae_lambda,
        cliprange=align.clip,
        cliprange_value=align.value_clip,
        learning_rate=rate,
        bf16=align.precision == "bf16",
        gradient_checkpointing=False,
        num_sample_generations=0,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=processes.accelerator().device_name() == "cpu",
        seed=align.seed,
    )
    prompts = Dataset.from_dict({"input_ids": asked.prompts_NP.tolist()})
    ends = Ends()
    PPOTrainer(
        args=arguments,
        processing_class=tokenizer,
        model=_policy(),
        ref_model=_policy(),
        reward_model=_scores(),
        value_model=_scores(),
        train_dataset=prompts,
        eval_dataset=prompts,
        callbacks=[ends],
    ).train()
    return _between(ends.at)


def _between(ends: list[float]) -> list[float]:
    return [end - begin for begin, end in pairwise(ends)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=7, help="of each turn")
    options = parser.parse_args()
    with one_line():
        main(options.iterations)
