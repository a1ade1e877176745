"""Episodes a second of PPO: prompts answered, scored and learned from, with fresh networks of two sizes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from jokbo import params  # first: it keeps DeepSpeed quiet

import torch  # isort: skip
from transformers import PreTrainedModel

from benchmarks import scratch
from benchmarks.gpu import training
from benchmarks.gpu.sheet import Sheet, forget_peak, peak_memory
from benchmarks.pretrain import timed
from jokbo.alignment import ppo, reward
from jokbo.alignment.networks import Networks, prepared
from jokbo.models import causal
from jokbo.runtime.errors import InputError

HEADER = ["network", "episodes/s", "seconds an iteration", "peak memory, GB"]
PROMPTS = 1024


@dataclass(frozen=True)
class Size:
    """How much PPO does in an iteration."""

    rollout_batch: int
    minibatch: int
    iterations: int  # that are timed


def measure(sheet: Sheet, small: bool) -> None:
    """Measure the chain's own network with its own settings, and a GPT with larger batches."""
    sheet.header = HEADER
    settings = params.load()
    own = settings.align
    if own.kind != "ppo":
        raise InputError("params.yaml: align.kind: this benchmark is of ppo")
    start, _, tokenizer = scratch.parts(settings)
    count = 2 if small else 5
    config = causal.configuration(start, vocabulary=tokenizer.vocabulary, end_of_text=0, padding=1)
    networks = {
        "the chain's": (lambda: causal.build(config, seed=1), Size(own.rollout_batch, own.minibatch, count)),
        "GPT" if small else "GPT, 124M": (
            training.gpt(small).build,
            Size(8, 4, 2) if small else Size(256, 64, 3),
        ),
    }
    for name, (build, size) in networks.items():
        shown = f"{name}; {size.rollout_batch} an iteration, {size.minibatch} a step"
        sheet.tried(shown, partial(_episodes, build, size, settings, own))
        gc.collect()
    asked = settings.prompts
    sheet.note(
        f"Prompts of {asked.prompt_tokens} tokens, responses of up to {asked.response_tokens}, {own.epochs} epochs. "
        "The networks are fresh, so that hardly a response ends before its last token."
    )


def _episodes(
    build: Callable[[], PreTrainedModel], size: Size, settings: params.Params, chains: params.Ppo
) -> list[str]:
    forget_peak()
    compute = settings.compute.model_copy(update={"processes": 1, "zero_stage": 0, "micro_batch": 0})
    own = chains.model_copy(
        update={
            "rollout_batch": size.rollout_batch,
            "minibatch": size.minibatch,
            "value_rollouts": 1,
            "value_warmup": 0,
            "pretraining_mix": None,
        }
    )
    policy, reference = build(), build()
    value, judge = (_scorer(policy) for _ in range(2))
    networks = Networks(policy, value, reference, judge, settings.prompts.response_tokens, size.minibatch)
    prepared(networks)
    shape = (PROMPTS, settings.prompts.prompt_tokens)
    prompts_NP = torch.randint(2, policy.config.vocab_size, shape, generator=torch.Generator().manual_seed(1))
    length = ppo.initialise_value(networks, prompts_NP, own)
    engines = ppo.start(networks, prompts_NP.shape[1], own, compute)
    controllers = ppo.Controllers.of(own, own.kl_coefficient, length)
    numbers = iter(range(own.iterations))

    def one() -> None:
        ppo.iterate(networks, engines, controllers, ppo.inputs_at(next(numbers), prompts_NP, own), own)

    one()  # what is loaded and chosen at the first time
    seconds = timed(one, size.iterations)
    for each in engines.values():
        each.destroy()
    return [f"{size.rollout_batch / seconds:.1f}", f"{seconds:.2f}", peak_memory()]


def _scorer(policy: PreTrainedModel) -> PreTrainedModel:
    made = reward.on_policy(policy, seed=1)
    made.config.reward_mean, made.config.reward_std = 0.0, 1.0
    return made
