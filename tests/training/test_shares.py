"""What is learned does not hang on how a batch is shared out among micro-batches or ranks, however unequal its rows:
the mean of an objective's losses, gradients and metrics over equal shares of a batch is the whole batch's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from jokbo.alignment import dpo, ppo
from jokbo.alignment import reward as rewards_
from jokbo.distillation.distil import Distil
from jokbo.finetuning.tasks.classification import Classification
from jokbo.finetuning.tasks.classifier import Classify
from jokbo.finetuning.tasks.labelled import SpecialTokens, batch
from jokbo.models import causal, heads
from jokbo.sampling import response_log_probs
from tests.support.networks import END, PADDING, network, tokens
from tests.systems import all_systems
from tests.systems.all_systems import NAMES, SPECIAL_TOKENS, module_of, size_of
from tests.systems.running_text import SIZE

LENGTHS, PROMPT = torch.tensor([12, 3, 9, 4, 12, 12, 2, 5]), 3
OF_PPO = SimpleNamespace(clip=0.2, temperature=0.7, pretraining_mix=None)


def read(objective: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Loss, metrics and the gradients of all weights."""
    objective.zero_grad()
    loss, metrics = objective(**batch)
    loss.backward()
    gradients = [each.grad.flatten() for each in objective.parameters() if each.grad is not None]
    return {"loss": loss.detach(), **metrics, "gradient": torch.cat(gradients)}


def check(objective: nn.Module, batch: dict[str, Tensor], shares: int) -> None:
    whole = read(objective.eval(), batch)
    chunks = {key: value.chunk(shares) for key, value in batch.items()}
    parts = [read(objective, {key: own[i] for key, own in chunks.items()}) for i in range(shares)]
    for name, value in whole.items():
        mean = torch.stack([part[name] for part in parts]).mean(0)
        torch.testing.assert_close(
            mean, value, rtol=1e-3, atol=1e-5, msg=lambda told, name=name: f"{name}: {told}"
        )


def rows() -> Tensor:
    tokens_BS = tokens(8, 12)
    for row, length in zip(tokens_BS, LENGTHS.tolist(), strict=True):
        row[length - 1], row[length:] = END, PADDING
    return tokens_BS


def continuations() -> dict[str, Tensor]:
    return {"tokens_BS": rows(), "weights_BT": causal.mean_one(rows()[:, 1:] != PADDING)}


def labelled() -> dict[str, Tensor]:
    special = SpecialTokens(END, PADDING, (END,))
    return batch(rows()[:, None], torch.tensor([0, 1] * 4), torch.arange(8), special)


def responses() -> tuple[dict[str, Tensor], Tensor]:
    mask_BR = torch.arange(PROMPT, 12) < (LENGTHS + PROMPT).clamp(max=12)[:, None]
    return {"tokens_BS": tokens(8, 12), "weights_BR": causal.mean_one(mask_BR)}, torch.randn(8, 12 - PROMPT)


def policy() -> tuple[nn.Module, dict[str, Tensor]]:
    batch, drawn = responses()
    with torch.no_grad():
        now = response_log_probs(network().eval(), batch["tokens_BS"], PROMPT, 0.7)
    old = now + 0.3 * torch.randn_like(now)
    return ppo.PolicyLoss(network(), OF_PPO, PROMPT), batch | {
        "old_log_probs_BR": old,
        "advantages_BR": drawn,
    }


def value() -> tuple[nn.Module, dict[str, Tensor]]:
    batch, drawn = responses()
    own = {"old_values_BR": drawn, "returns_BR": torch.randn_like(drawn)}
    return ppo.ValueLoss(rewards_.on_policy(network(), seed=0), 0.2, PROMPT), batch | own


def pairs() -> tuple[nn.Module, dict[str, Tensor]]:
    tokens_B2S = torch.stack([rows(), rows().flip(0)], dim=1)
    batch = {"tokens_B2S": tokens_B2S, "response_B2T": tokens_B2S[..., 1:] != PADDING}
    return dpo.DpoLoss(network(), 0.1), batch | {"reference_B2": -10 * torch.rand(8, 2)}


OBJECTIVES: dict[str, Callable[[], tuple[nn.Module, dict[str, Tensor]]]] = {
    "pretrain, padded": lambda: (
        causal.NextToken(network()),
        causal.packed_rows(rows(), "padded", end_of_text=END, padding=PADDING),
    ),
    "policy": lambda: (causal.NextTokenWhere(network()), continuations()),
    "classifier": lambda: (
        Classify(heads.on_each(network(), labels=["0", "1"], seed=0), Classification(), 0.5),
        labelled(),
    ),
    "distill": lambda: (
        Distil(
            network(layers=1),
            network(),
            2.0,
            SimpleNamespace(soft_targets=5.0, language_model=2.0, cosine=1.0),
        ),
        continuations(),
    ),
    "reward": lambda: (
        rewards_.Compare(rewards_.on_policy(network(), seed=0)),
        {"preferred_BS": rows(), "rejected_BS": rows().flip(0)},
    ),
    "ppo, policy": policy,
    "ppo, value": value,
    "dpo": pairs,
}


@pytest.mark.parametrize("shares", [2, 8])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_of_every_training_of_the_chain(name: str, shares: int) -> None:
    check(*OBJECTIVES[name](), shares)


@pytest.mark.parametrize("name", NAMES)
def test_of_every_system(name: str, tmp_path: Path) -> None:
    system = module_of(name)
    objective = system.Objective(system.network(size_of(name, tmp_path), SPECIAL_TOKENS, 0), SPECIAL_TOKENS)
    check(objective, system.batch(all_systems.text(), 0, 8, SIZE.context, 0), 4)
