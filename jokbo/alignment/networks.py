"""The networks of PPO, and what they say of responses: `collect` samples those and asks all of the networks.

Several ranks share a rollout: each samples and reads its part of the prompts, and then all have all of it.

Shapes: B responses of a rollout, P tokens of a prompt, R of a response at most, S of both, V of the vocabulary.

Log-probabilities, KL and entropy are those of the distribution that responses are sampled from (sampling.drawn_from).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import PreTrainedModel

from jokbo.alignment import ensembles
from jokbo.alignment import reward as reward_model
from jokbo.alignment.lengths import by_length
from jokbo.alignment.rollouts import Experience
from jokbo.alignment.value import response_values
from jokbo.models import access
from jokbo.sampling import Rollout, chosen, response_distributions, response_log_probs, sample
from jokbo.training import activations, engine, processes

if TYPE_CHECKING:
    from jokbo.params import Compute, Ppo


@dataclass(frozen=True)
class Networks:
    policy: PreTrainedModel
    value: PreTrainedModel
    reference: PreTrainedModel
    reward: PreTrainedModel
    response_tokens: int  # of a response at most, its end of text among them
    micro_batch: (
        int  # sequences that one of them reads at once: compute.micro_batch, or its share of the minibatch
    )
    members: Sequence[PreTrainedModel] = ()  # reward models of an ensemble, beside the one above
    disagreement_cost: float = 0.0  # reward that a response loses for each deviation among all of them


def prepared(networks: Networks) -> None:
    """Have all networks compute without dropout, on the device, and alike: policy and reference start at a KL of 0."""
    processes.join()
    for network in (networks.policy, networks.value, networks.reference, networks.reward, *networks.members):
        engine.prefer_attention(network)
        access.moved(network, processes.device()).eval()


@contextmanager
def recomputed(networks: Networks, compute: Compute, name: str | None = None) -> Iterator[None]:
    """Do as `activations.recomputed` with the layers that learn: the policy's and the value's."""
    if not compute.activation_checkpointing:
        yield
        return
    from jokbo.alignment import trunk  # peft takes seconds to import

    layers = [trunk.backbone_of(network) for network in (networks.policy, networks.value)]
    with activations.recomputed(layers, compute, name):
        yield


def collect(
    networks: Networks, prompts_BP: Tensor, seed: int, settings: Ppo, *, valued: bool = True
) -> Experience:
    """Return responses of the policy to the prompts, and what every network says of them: those of all ranks, each of
    which does its share. Unless it is `valued`, the value network is not asked, and values are 0.

    All is computed in the precision of the engines: old and new probabilities must be computed alike.
    """
    policy, start = networks.policy, prompts_BP.shape[1]
    rollout = sample(
        policy,
        share(prompts_BP),
        response_tokens=networks.response_tokens,
        temperature=settings.temperature,
        seed=seed + processes.rank(),
        any_going=processes.any_rank,
    )

    def read(tokens_BS: Tensor) -> Tensor:
        log_probs_BRV = response_distributions(policy, tokens_BS, start, settings.temperature)
        old_BR = chosen(log_probs_BRV, tokens_BS)
        entropy_BR = -(log_probs_BRV.exp() * log_probs_BRV).sum(-1)
        del log_probs_BRV
        reference_BR = response_log_probs(networks.reference, tokens_BS, start, settings.temperature)
        values_BR = response_values(networks.value, tokens_BS, start) if valued else torch.zeros_like(old_BR)
        return torch.stack([old_BR, old_BR - reference_BR, entropy_BR, values_BR], dim=-1)

    parts = zip(
        rollout.tokens_BS.to(policy.device).split(networks.micro_batch),
        rollout.mask_BR.to(policy.device).split(networks.micro_batch),
        strict=True,
    )
    with torch.no_grad(), processes.autocast(settings.precision):
        found = [by_length(read, tokens_BS, mask_BR) for tokens_BS, mask_BR in parts]
    old_BR, ratio_BR, entropy_BR, values_BR = torch.cat(found).cpu().unbind(-1)
    end, padding = policy.config.eos_token_id, policy.config.pad_token_id
    scores_B = ensembles.rewards(
        (networks.reward, *networks.members),
        reward_model.with_end_of_text(rollout.tokens_BS, end, padding),
        networks.disagreement_cost,
    )
    scores_B = scores_B - settings.unfinished_penalty * ~rollout.ended_B(end)
    numbers = map(gathered, (scores_B, old_BR, ratio_BR * rollout.mask_BR, entropy_BR, values_BR))
    return Experience(_whole(rollout), *numbers)


def share(rows: Tensor) -> Tensor:
    """Return this rank's part of the rows."""
    return processes.share_of({"rows": rows})["rows"]


def _whole(mine: Rollout) -> Rollout:
    """Return the rollout of which each rank sampled a part."""
    return replace(mine, tokens_BS=gathered(mine.tokens_BS), mask_BR=gathered(mine.mask_BR.byte()).bool())


def gathered(mine: Tensor) -> Tensor:
    """Return the rows of all ranks, in their order, on the CPU; every rank has as many."""
    if processes.world() == 1:
        return mine
    own = mine.to(processes.device()).contiguous()
    parts = [torch.empty_like(own) for _ in range(processes.world())]
    dist.all_gather(parts, own)
    return torch.cat(parts).cpu()
