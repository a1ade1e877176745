"""Reward models that learned the same pairs from other seeds: where they disagree, none of them is to be trusted.

Coste et al. 2024: a policy that learns from one reward model ends where that one errs; members of an ensemble err
there each in another way. They take the mean less what the variance costs; here it is the standard deviation, so that
the cost is in units of reward.

A folder holds the first member as a model by itself, and each further one in a folder below it. Shapes: M members,
N sequences of S tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from jokbo.alignment import reward
from jokbo.models import heads

MEMBER = "member-"  # before the number of a member's folder


def folder_of(folder: Path, member: int) -> Path:
    """Return the folder of a member, counted from 0, in that of the ensemble."""
    return folder / f"{MEMBER}{member}" if member else folder


def opened(folder: Path, first: int = 0) -> list[PreTrainedModel]:
    """Return all members from the number `first` on, in order."""
    count = 1 + len(list(folder.glob(f"{MEMBER}*")))
    return [
        AutoModelForSequenceClassification.from_pretrained(folder_of(folder, member), dtype=torch.float32)
        for member in range(first, count)
    ]


def rewards(members: Sequence[PreTrainedModel], tokens_NS: Tensor, cost: float = 0.0) -> Tensor:
    """Return the mean of the members' normalised rewards, fp32 [N], less `cost` for each standard deviation of them.

    The rewards of a single member are its own.
    """
    rewards_MN = torch.stack([reward.rewards(member, tokens_NS) for member in members])
    return rewards_MN.mean(0) - cost * rewards_MN.std(0, correction=0)


def leads(members: Sequence[PreTrainedModel], sides: Sequence[Tensor]) -> Tensor:
    """Return how much more the members give preferred than other sequences, raw, a mean over them: fp32 [N].

    Raw rewards are those of which sigmoid is the probability that a response is preferred.
    """
    raw = [[heads.outputs(member, side_NS).squeeze(-1) for side_NS in sides] for member in members]
    return torch.stack([preferred_N - other_N for preferred_N, other_N in raw]).mean(0)
