"""PPO's surrogates and their gradients, and that it learns."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jokbo.control import ppo
from jokbo.control.ppo import Batch
from jokbo.control.settings import AdaptiveKl, Clip, FixedKl, Unclipped
from tests.control import made

COUNT, ACTIONS = 200, 3


def made_up() -> tuple[Tensor, Batch]:
    """Logits, and a batch whose policy was another."""
    rng = torch.Generator().manual_seed(0)
    old, new = torch.randn(2, COUNT, ACTIONS, generator=rng, dtype=torch.float64)
    actions = torch.randint(ACTIONS, (COUNT, 1), generator=rng)
    advantages = torch.randn(COUNT, generator=rng, dtype=torch.float64)
    return new.requires_grad_(), Batch(new, actions, old.log_softmax(1), advantages, advantages)


def parts(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Ratio of each row, its gradient by the logits, and the policy, by hand."""
    policy = logits.detach().softmax(1)
    ratio = (
        policy.gather(1, batch.actions_B1)[:, 0]
        / batch.old_log_probs_BA.exp().gather(1, batch.actions_B1)[:, 0]
    )
    chosen = torch.nn.functional.one_hot(batch.actions_B1[:, 0], ACTIONS)
    return ratio, ratio[:, None] * (chosen - policy), policy


def gradient(kind: Any, beta: float = 0.0) -> tuple[Tensor, Tensor, Batch, Tensor]:
    """The gradient of a surrogate by autograd, with what it is of."""
    logits, batch = made_up()
    value = ppo.surrogate(logits.log_softmax(1), batch, kind, beta)
    value.backward()
    assert logits.grad is not None
    return logits.grad, logits, batch, value.detach()


def test_clipping_takes_the_least_and_its_gradient_is_zero_where_the_ratio_has_gone_too_far() -> None:
    found, logits, batch, value = gradient(Clip(kind="clip", epsilon=0.2))
    ratio, slope, _ = parts(logits, batch)
    expected, gained = torch.zeros_like(found), 0.0
    for row, (own, advantage) in enumerate(zip(ratio.tolist(), batch.advantages_B.tolist(), strict=True)):
        too_far = own > 1.2 if advantage > 0 else own < 0.8
        gained += (1.2 if advantage > 0 else 0.8) * advantage if too_far else own * advantage
        if not too_far:
            expected[row] = slope[row] * advantage / COUNT
    assert 0 < (expected == 0).all(1).sum() < COUNT
    torch.testing.assert_close(found, expected)
    assert value.item() == pytest.approx(gained / COUNT)


def test_without_clipping_every_row_counts() -> None:
    found, logits, batch, value = gradient(Unclipped(kind="none"))
    ratio, slope, _ = parts(logits, batch)
    torch.testing.assert_close(found, slope * batch.advantages_B[:, None] / COUNT)
    torch.testing.assert_close(value, (ratio * batch.advantages_B).mean())


@pytest.mark.parametrize(
    "kind", [FixedKl(kind="fixed_kl", beta=3.0), AdaptiveKl(kind="adaptive_kl", target=0.01, beta=1.0)]
)
def test_the_penalty_draws_the_policy_back_to_the_one_before(kind: Any) -> None:
    """The gradient of KL(old, new) by the new logits is new - old."""
    found, logits, batch, value = gradient(kind, beta=0.7)
    ratio, slope, policy = parts(logits, batch)
    old = batch.old_log_probs_BA.exp()
    expected = (slope * batch.advantages_B[:, None] - 0.7 * (policy - old)) / COUNT
    torch.testing.assert_close(found, expected)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Categorical(old), torch.distributions.Categorical(policy)
    )
    torch.testing.assert_close(value, (ratio * batch.advantages_B - 0.7 * kl).mean())


def test_the_whole_gradient_is_that_of_finite_differences() -> None:
    logits, batch = made_up()
    for kind, beta in ((Clip(kind="clip", epsilon=0.2), 0.0), (FixedKl(kind="fixed_kl", beta=1.0), 1.0)):
        assert torch.autograd.gradcheck(
            lambda given, kind=kind, beta=beta: ppo.surrogate(given.log_softmax(1), batch, kind, beta), logits
        )


def test_beta_is_moved_towards_the_target_and_only_if_it_is_adaptive() -> None:
    adaptive = AdaptiveKl(kind="adaptive_kl", target=0.03, beta=1.0)
    assert [ppo.next_beta(adaptive, 4.0, kl) for kl in (0.0199, 0.021, 0.044, 0.0451)] == [2.0, 4.0, 4.0, 8.0]
    assert ppo.next_beta(FixedKl(kind="fixed_kl", beta=4.0), 4.0, 1.0) == 4.0


def test_minibatches_are_each_step_once_an_epoch() -> None:
    own = made.ppo_of(environments=2, horizon=6, minibatch=4, epochs=2).own
    drawn = [rows.tolist() for rows in ppo.minibatches(12, own, 1, 0)]  # pyright: ignore
    assert [len(rows) for rows in drawn] == [4] * 6
    assert sorted(chain(*drawn[:3])) == sorted(chain(*drawn[3:])) == list(range(12))
    assert drawn[:3] != drawn[3:]


def test_it_learns_to_balance_the_pole(tmp_path: Path) -> None:
    """A policy at random holds it for 22 steps."""
    record = ppo.trained(made.job(made.ppo_of(), tmp_path, steps=12_288)).record
    assert record.mean_return() > 150  # pyright: ignore
