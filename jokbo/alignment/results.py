"""What the stages `reward` and `align` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jokbo.evaluation.intervals import Estimated
from jokbo.runtime.files import Saved


@dataclass(frozen=True)
class Group:
    """How many of some preference pairs are told right."""

    group: str
    comparisons: int
    accuracy: Estimated


@dataclass(frozen=True)
class PreferenceScore:
    """A reward model on preference pairs that it has not seen. Estimates go by text, which pairs share."""

    comparisons: int
    texts: int
    accuracy: Estimated
    accuracy_by_source: Mapping[str, Estimated]
    accuracy_by_labeller: Sequence[Group]
    accuracy_by_agreement: Sequence[Group]
    accuracy_by_length: Sequence[Group]
    calibration_error: Estimated
    calibration: Sequence[Mapping[str, int | float]]  # rows of calibration.Bin


@dataclass(frozen=True)
class Probes:
    """What a reward model makes of length and of repetition. Estimates go by prompt, or text.

    None where there are fewer than two of these.
    """

    responses: int
    left_out: int  # of fewer than four words, or longer than the context when their first half stands twice
    length_correlation: Estimated | None  # rank correlation of tokens and reward; None if either is constant
    second_half: Estimated | None  # reward of the whole less that of its first half
    repetition: Estimated | None  # reward of the first half said twice less that of it said once


@dataclass(frozen=True)
class RewardModel(Saved):
    """How well the reward model tells what people prefer, and what else it goes by."""

    STAGE = "reward"
    human: PreferenceScore
    probes: Probes


@dataclass(frozen=True)
class Change:
    """A number in the first iteration of a training, and in the last."""

    first: float
    last: float


@dataclass(frozen=True)
class Alignment(Saved):
    """How far PPO moved the policy: each is a mean over an iteration's responses."""

    STAGE = "align"
    kind: str
    reward: Change
    kl: Change  # nats a response, from the supervised model
    kl_per_token: Change
    entropy: Change  # nats a token
    response_length: Change  # tokens
    explained_variance: Change  # share of the returns' variance


@dataclass(frozen=True)
class DirectAlignment(Saved):
    """How far DPO moved the policy: each is a mean over a step's pairs."""

    STAGE = "align"
    kind: str
    pairs: int  # that it learned from
    loss: Change
    accuracy: Change  # share of pairs with a margin above 0
    margin: Change
    held_out: (
        PreferenceScore | None
    )  # by margins, on pairs that no stage learned from; None if there are none
