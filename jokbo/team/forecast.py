"""What stages will take, before they begin: time as in earlier runs on this kind of machine, and memory of trainings.

A training's memory is found as the stage itself finds it (jokbo/training/memory.py), from networks of the sizes that
the chain will have, without their weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jokbo.runtime import environment
from jokbo.team import runs

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from jokbo.params import Params
    from jokbo.training.memory import Need

SAME = ("processor", "cores", "accelerators")  # what makes machines of one kind
END, PADDING = 0, 1  # tokens of a network whose tokenizer is not there yet


class Took(NamedTuple):
    """What an earlier run of a stage took."""

    seconds: float
    alike: bool  # whether it had the same parameters


def times(asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Took]:
    """Return what stages (name -> parameters by dotted names) took in MLflow's runs on this kind of machine: with the
    same parameters if there is such a run, else in the last one. InputError if MLflow does not answer.
    """
    store, found = runs.client(), dict[str, Took]()
    if store is None:
        return found
    here = environment.tags(environment.collect())
    for stage, params in asked.items():
        wanted = {name: str(value) for name, value in params.items()}
        ended = [
            Took(run.data.metrics["seconds"], run.data.params == wanted)
            for run in runs.finished(store, stage)
            if "seconds" in run.data.metrics and _same_machine(run.data.tags, here)
        ]
        if ended:
            found[stage] = next((took for took in ended if took.alike), ended[0])
    return found


def _same_machine(tags: Mapping[str, str], here: Mapping[str, str]) -> bool:
    names = [f"environment.{name}" for name in SAME]
    return all(tags.get(name) == here.get(name) for name in names)


def needs(settings: Params, stages: Iterable[str], start: Path | None) -> dict[str, Need]:
    """Return what the trainings among the stages take in the one process that each has.

    `start` is the folder of a model as they begin with or train further; None if none is there yet. Left out are stages
    that train nothing or by several processes, PPO by adapters, and what begins with a model that is not there.
    """
    chosen = {name: _NEEDS[name] for name in stages if name in _NEEDS}
    found: dict[str, Need] = {}
    for name, need_of in chosen.items() if settings.compute.processes == 1 else ():
        network = _network(settings, start)  # each trains one of its own
        need = network and need_of(settings, network)
        if need is not None:
            found[name] = need
    return found


def checkpoints(need: Need) -> int:
    """Return the bytes of the checkpoints that are kept of a training, at most."""
    from jokbo.training.checkpoints import KEEP

    return KEEP * (need.weights + need.optimizer)


def _network(settings: Params, start: Path | None) -> PreTrainedModel | None:
    """Return the language model of the chain, with weights that nobody has set; None if its sizes are not known yet."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from jokbo.models import access, causal

    own, vocabulary = settings.pretrain.start, getattr(settings.tokenize.tokenizer, "vocabulary", None)
    if start is not None:
        config = AutoConfig.from_pretrained(start)
    elif own.kind == "scratch" and vocabulary is not None:
        config = causal.configuration(own, vocabulary=vocabulary, end_of_text=END, padding=PADDING)
    else:
        return None
    if config.pad_token_id is None:
        config.pad_token_id = config.eos_token_id
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    network.to_empty(device="cpu").tie_weights()  # nobody writes to it, so it takes no memory
    access.keep_to(network, own.context)
    return network


def _of_pretrain(settings: Params, network: PreTrainedModel) -> Need | None:
    from jokbo.models import causal

    own = settings.pretrain
    if own.training is None:
        return None
    tokens_BS = _tokens(network, own.training.batch_size, own.start.context + 1)
    marks = {"end_of_text": END, "padding": PADDING}
    batch = causal.packed_rows(tokens_BS, own.packing, **marks)
    return _of_training(causal.NextToken(network), batch, own.training, settings)


def _of_finetune(settings: Params, network: PreTrainedModel) -> Need | None:
    from jokbo.models import causal

    training = settings.finetune.policy.training
    prompts = settings.prompts
    share = prompts.response_tokens / (prompts.prompt_tokens + prompts.response_tokens)
    batch = _rows(network, training.batch_size, share)
    return _of_training(causal.NextTokenWhere(network), batch, training, settings)


def _of_distill(settings: Params, network: PreTrainedModel) -> Need | None:
    from jokbo.distillation.depth import shallower
    from jokbo.distillation.distil import Distil

    own = settings.distill
    if own.kind == "none":
        return None
    objective = Distil(shallower(network, own.layers), network, own.temperature, own.weights)
    batch = _rows(network, own.training.batch_size, 1.0)
    return _of_training(objective, batch, own.training, settings, [network])


def _of_reward(settings: Params, network: PreTrainedModel) -> Need | None:
    from jokbo.alignment import reward

    own = settings.reward
    if own.kind == "none" or own.batch_of == "prompts":
        return None
    tokens_BS = _tokens(network, own.training.batch_size, own.context)
    batch = {"preferred_BS": tokens_BS, "rejected_BS": tokens_BS}
    return _of_training(reward.Compare(reward.on_policy(network, seed=0)), batch, own.training, settings)


def _of_align(settings: Params, network: PreTrainedModel) -> Need | None:
    from jokbo.alignment import memory, reward
    from jokbo.alignment.networks import Networks
    from jokbo.alignment.value import start_of
    from jokbo.training.memory import in_process

    own, prompts = settings.align, settings.prompts
    if own.kind != "ppo" or own.method.kind != "full" or own.pretraining_mix:
        return None
    scores = reward.on_policy(network, seed=0)
    four = (network, start_of(copy.deepcopy(scores), own.value_layers), copy.deepcopy(network), scores)
    micro_batch = settings.compute.micro_batch or own.minibatch
    networks = Networks(*four, prompts.response_tokens, micro_batch)
    asked_NP = _tokens(network, own.rollout_batch, prompts.prompt_tokens)
    return in_process(memory.of_ppo(networks, asked_NP, own, settings.compute))


_NEEDS: dict[str, Callable[[Params, PreTrainedModel], Need | None]] = {
    "pretrain": _of_pretrain,
    "finetune": _of_finetune,
    "distill": _of_distill,
    "reward": _of_reward,
    "align": _of_align,
}


def _of_training(
    objective: nn.Module, batch: dict[str, Tensor], training: Any, settings: Params, beside: Any = ()
) -> Need:
    from jokbo.training import memory

    return memory.in_process(memory.of_training(objective, batch, training, settings.compute, beside))


def _rows(network: PreTrainedModel, rows: int, share: float) -> dict[str, Tensor]:
    """Return a batch of prompts and responses, with a share of its tokens as targets."""
    import torch

    from jokbo.models import access

    context = access.context(network)
    weights_BT = torch.zeros(rows, context)
    weights_BT[:, : round(share * context)] = 1.0
    positions_BT = torch.arange(context).expand(rows, -1)
    return {
        "tokens_BS": _tokens(network, rows, context + 1),
        "weights_BT": weights_BT,
        "positions_BT": positions_BT,
    }


def _tokens(network: PreTrainedModel, rows: int, length: int) -> Tensor:
    import torch

    return torch.full((rows, length), min(network.config.vocab_size - 1, PADDING + 1))
