"""A language of five tokens whose responses of two can all be counted; and what a baseline is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from jokbo.alignment import reward as rewards_
from jokbo.alignment.baselines.common import Given, HeldOut
from jokbo.alignment.networks import Networks
from jokbo.models import causal
from jokbo.runtime.tracking import Run
from jokbo.sampling import response_log_probs, up_to_end
from jokbo.training.job import Job
from tests.alignment.test_ppo import ANSWER, PROMPT, ppo_settings, speaker
from tests.support.networks import END, PADDING, compute, network, tokens

VOCABULARY, LENGTH = 5, 2  # of the responses that are all counted
PROMPT_OF_ALL = [2, 3]


class Killed(Exception):
    pass


class Killing(Run):
    """A run that kills the training when it logs a step: that step is done, and in no checkpoint."""

    def __init__(self, at: int | None = None) -> None:
        super().__init__()
        self.at = at

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if step is not None and step == self.at:
            raise Killed


def kill_in_rollout(what: Given, number: int) -> None:
    """Have the training be killed when the responses of so many a rollout are scored."""
    calls = iter(range(1, number))

    def count(*_: object) -> None:
        if next(calls, None) is None:
            raise Killed

    what.networks.reward.base_model.register_forward_pre_hook(count)


def kill_in_update(what: Given, number: int) -> None:
    """Have the training be killed in so many a step of the policy."""
    calls = iter(range(1, number))

    def count(*_: object) -> None:
        if torch.is_grad_enabled() and next(calls, None) is None:
            raise Killed

    what.networks.policy.base_model.register_forward_pre_hook(count)


class Settings(SimpleNamespace):
    """Settings of PPO for a test, which may be copied as those of params.yaml are."""

    def model_copy(self, update: Mapping[str, object]) -> Settings:
        return Settings(**{**vars(self), **update})


def given(folder: Path, *, kill_at: int | None = None, samples: int = 64, **changes: object) -> Given:
    """Networks that speak, and little to do; a `rollout_batch` is 16 responses."""
    policy, reference = speaker(), speaker()
    value, reward = (rewards_.on_policy(network(), seed=0) for _ in range(2))
    reward.config.reward_mean, reward.config.reward_std = 0.0, 1.0
    settings = Settings(**vars(ppo_settings(**changes)))
    networks = Networks(policy, value, reference, reward, ANSWER, 8)
    job = Job("align", settings.seed, compute(checkpoint_seconds=0.0), Killing(kill_at), folder)
    held_out = HeldOut(tokens(10, PROMPT, seed=9), settings, 5)
    return Given(networks, tokens(40, PROMPT), settings, samples, held_out, job)


def weights(policy: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])


@dataclass(frozen=True)
class All:
    """Every response there is to one prompt, padded after its end, and how probable it is."""

    tokens_MS: Tensor
    mask_MR: Tensor
    probability_M: Tensor
    earned_M: Tensor  # what each earns, made up

    def gradient(self, policy: PreTrainedModel) -> Tensor:
        """The gradient of what a response earns on average, by its definition."""
        (of_token(policy, self.tokens_MS, self.mask_MR).exp() * self.earned_M).sum().backward()
        return taken(policy)


def of_token(policy: PreTrainedModel, tokens_MS: Tensor, mask_MR: Tensor) -> Tensor:
    return (response_log_probs(policy, tokens_MS, len(PROMPT_OF_ALL), 1.0) * mask_MR).sum(1)


def taken(policy: PreTrainedModel) -> Tensor:
    """The gradient that the weights hold, which is then gone."""
    found = [torch.zeros_like(each) if each.grad is None else each.grad for each in policy.parameters()]
    policy.zero_grad()
    return torch.cat([each.flatten().clone() for each in found])


def language() -> tuple[PreTrainedModel, All]:
    model = SimpleNamespace(architecture="llama", layers=1, hidden_size=8, heads=2, context=8, dropout=0.0)
    config = causal.configuration(model, vocabulary=VOCABULARY, end_of_text=END, padding=PADDING)
    policy = causal.build(config, seed=3).double().eval()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)
    said = [list(one) for one in product([END, 2, 3, 4], repeat=LENGTH)]
    rows = [row if row[0] != END else [END, PADDING] for row in said if row[0] != END or row[1] == END]
    responses_MR = torch.tensor(rows)
    tokens_MS = torch.cat([torch.tensor(PROMPT_OF_ALL).expand(len(rows), -1), responses_MR], 1)
    mask_MR = up_to_end(responses_MR, END)
    with torch.no_grad():
        probability_M = of_token(policy, tokens_MS, mask_MR).exp()
    earned_M = torch.randn(len(rows), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return policy, All(tokens_MS, mask_MR, probability_M, earned_M)
