"""Best-of-n: the best are taken, and what so many would have come to is a mean over all choices."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from jokbo.alignment.baselines import best_of_n
from tests.alignment.baselines.small import given


def test_the_best_of_so_many_is_the_mean_over_all_choices() -> None:
    rewards = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    for m in range(1, 6):
        expected = [
            sum(max(choice) for choice in combinations(row, m)) / math.comb(5, m) for row in rewards.tolist()
        ]
        assert best_of_n.best_of(rewards, m).tolist() == pytest.approx(expected)


def test_what_another_tells_of_the_best_is_a_mean_over_all_choices() -> None:
    generator = torch.Generator().manual_seed(2)
    rewards, told = torch.randn(2, 4, generator=generator), torch.randn(2, 4, generator=generator)
    for m in range(1, 5):
        expected = [
            sum(of[max(choice, key=lambda i: row[i])] for choice in combinations(range(4), m))
            / math.comb(4, m)
            for row, of in zip(rewards.tolist(), told.tolist(), strict=True)
        ]
        assert best_of_n.best_of(rewards, m, told).tolist() == pytest.approx(expected)


def test_the_kl_of_the_best_is_that_of_a_draw_with_distinct_rewards() -> None:
    """Of many equally likely responses, by its definition: rank i is the best of n with (i/M)^n - ((i-1)/M)^n."""
    count, n = 4000, 4
    ranks = torch.arange(1, count + 1, dtype=torch.float64)
    share = (ranks / count) ** n - ((ranks - 1) / count) ** n
    exact = (share * (share * count).log()).sum().item()
    assert best_of_n.kl(n) == pytest.approx(exact, rel=1e-3)
    assert best_of_n.kl(1) == 0


def test_each_prompt_has_its_best_response(tmp_path: Path) -> None:
    own = SimpleNamespace(kind="best_of_n", responses_per_prompt=4)
    made = best_of_n.made(given(tmp_path), own)
    one = best_of_n.made(given(tmp_path), SimpleNamespace(kind="best_of_n", responses_per_prompt=1))
    assert made.policy is None
    assert len(made.responses.rewards_B) == 10
    assert made.responses.rewards_B.mean() > one.responses.rewards_B.mean()
    assert [row["samples"] for row in made.history] == [10, 20, 30, 40]
    assert made.history[-1]["reward"] == pytest.approx(made.responses.rewards_B.mean().item(), rel=1e-4)
    rewards = [row["reward"] for row in made.history]
    assert rewards == sorted(rewards)
    prompts = made.responses.rollout.tokens_BS[:, :4]
    assert torch.equal(prompts, given(tmp_path).held_out.prompts_NP)
    assert one.responses.kl_B.tolist() == [0] * 10
