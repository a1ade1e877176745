"""PPO: each formula against its definition, and the whole on a task whose response is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from jokbo.alignment import ppo
from jokbo.alignment import reward as rewards_
from jokbo.alignment.rollouts import Experience
from jokbo.models import causal
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run
from jokbo.sampling import response_log_probs, sample
from jokbo.training import engine, processes
from jokbo.training.job import Job
from tests.support.networks import END, compute, network, optimizer, tokens

PROMPT, ANSWER = 4, 6


def ppo_settings(**changes: object) -> SimpleNamespace:
    values = {
        "seed": 1,
        "iterations": 4,
        "rollout_batch": 16,
        "epochs": 2,
        "minibatch": 8,
        "temperature": 1.0,
        "discount": 1.0,
        "gae_lambda": 0.95,
        "clip": 0.2,
        "value_clip": 0.2,
        "kl_coefficient": 0.05,
        "kl_target": 3.0,
        "kl_gain": 0.1,
        "length_gain": 0.0,
        "value_rollouts": 1,
        "unfinished_penalty": 0.0,
        "policy_optimizer": optimizer(rate=0.003),
        "value_optimizer": optimizer(rate=0.003),
        "gradient_clip": 1.0,
        "precision": "fp32",
        "rollouts_every": 2,
    }
    return SimpleNamespace(**{**values, **changes})


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.floats(0.5, 1.0), st.floats(0.0, 1.0))
def test_advantages_are_discounted_sums_of_errors(seed: int, discount: float, gae_lambda: float) -> None:
    """Equation 16 of Schulman et al. 2016 as the double sum it is, over responses of different lengths."""
    rng = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 3, 5, generator=rng)
    lengths = [1, 3, 5]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    advantages, returns = ppo.advantages_and_returns(
        rewards * mask, values, mask, discount=discount, gae_lambda=gae_lambda
    )
    for b, length in enumerate(lengths):
        following = [*values[b, :length].tolist(), 0.0]
        errors = [rewards[b, t] + discount * following[t + 1] - following[t] for t in range(length)]
        for t in range(length):
            expected = sum((discount * gae_lambda) ** k * errors[t + k] for k in range(length - t))
            assert advantages[b, t].item() == pytest.approx(expected.item(), abs=1e-4)
            assert returns[b, t].item() == pytest.approx(expected.item() + following[t], abs=1e-4)
        assert not advantages[b, length:].any()


def test_with_lambda_1_returns_are_what_is_still_to_come() -> None:
    rewards, mask = torch.tensor([[1.0, 2.0, 4.0]]), torch.ones(1, 3, dtype=torch.bool)
    _, returns = ppo.advantages_and_returns(rewards, torch.randn(1, 3), mask, discount=1.0, gae_lambda=1.0)
    torch.testing.assert_close(returns, torch.tensor([[7.0, 6.0, 4.0]]))


def test_whitened_values_have_mean_0_and_variance_1_over_the_mask() -> None:
    mask = torch.rand(8, 9) < 0.5
    white = ppo.whiten(torch.randn(8, 9) * 3 + 2, mask)
    assert white[mask].mean().item() == pytest.approx(0, abs=1e-5)
    assert white[mask].var(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert not white[~mask].any()


def test_the_controller_moves_beta_towards_the_target_by_a_fifth_of_its_gain_at_most() -> None:
    controller = ppo.KlController(0.1, target=6.0, gain=0.1)
    controller.update(600.0)
    assert controller.beta == pytest.approx(0.1 * 1.02)
    controller.update(5.4)
    assert controller.beta == pytest.approx(0.1 * 1.02 * 0.99)


def test_the_clipped_losses_from_their_definitions() -> None:
    policy = network().eval()
    rollout = sample(policy, tokens(6, PROMPT), response_tokens=ANSWER, temperature=1.0, seed=1)
    mask = rollout.mask_BR
    with torch.no_grad():
        now = response_log_probs(policy, rollout.tokens_BS, PROMPT, 1.0)
    old, advantages = now + 0.3 * torch.randn_like(now), torch.randn_like(now)
    weights = causal.mean_one(mask)
    loss, metrics = ppo.PolicyLoss(policy, 0.2, PROMPT, 1.0)(rollout.tokens_BS, weights, old, advantages)
    ratio = (now - old).exp()
    terms = [
        -min(r * a, max(0.8, min(1.2, r)) * a)
        for r, a in zip(ratio[mask].tolist(), advantages[mask].tolist(), strict=True)
    ]
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-4)
    outside = ((ratio[mask] < 0.8) | (ratio[mask] > 1.2)).float().mean().item()
    assert metrics["clip_fraction"].item() == pytest.approx(outside)
    assert metrics["step_kl"].item() >= 0

    value = rewards_.on_policy(policy, seed=0).eval()
    with torch.no_grad():
        predicted = ppo.response_values(value, rollout.tokens_BS, PROMPT)
    before, returns = predicted + torch.randn_like(now), torch.randn_like(now)
    loss, _ = ppo.ValueLoss(value, 0.2, PROMPT)(rollout.tokens_BS, weights, before, returns)
    triples = zip(predicted[mask].tolist(), before[mask].tolist(), returns[mask].tolist(), strict=True)
    terms = [max((v - g) ** 2, (b + max(-0.2, min(0.2, v - b)) - g) ** 2) / 2 for v, b, g in triples]
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_a_value_does_not_see_the_token_it_is_the_value_before() -> None:
    value = rewards_.on_policy(network(), seed=0).eval()
    one = tokens(1, PROMPT + ANSWER)
    other = one.clone()
    other[0, PROMPT + 2] = (other[0, PROMPT + 2] + 1) % 50 + 2
    before, after = (ppo.response_values(value, rows, PROMPT)[0] for rows in (one, other))
    torch.testing.assert_close(before[:3], after[:3])
    assert not torch.allclose(before[3:], after[3:])


def speaker() -> PreTrainedModel:
    """A network that comes to the end of some of its responses."""
    made = network().eval()
    with torch.no_grad():
        states_BTD = made.base_model(input_ids=tokens(16, 8)).last_hidden_state
        made.get_output_embeddings().weight[END] += 1.2 * states_BTD.mean((0, 1))
    return made


def networks(rows: int = 8) -> ppo.Networks:
    policy, reference = speaker(), speaker()
    value, reward = (rewards_.on_policy(network(), seed=0) for _ in range(2))
    reward.config.reward_mean, reward.config.reward_std = 0.0, 1.0
    for each in (policy, reference, value, reward):
        engine.prefer_attention(each)
        each.eval()
    return ppo.Networks(policy, value, reference, reward, ANSWER, rows)


def controllers(beta: float = 0.1, **length: float) -> ppo.Controllers:
    settings = {"target": 5.0, "gain": 0.0, **length}
    return ppo.Controllers(ppo.KlController(beta, 3.0, 0.1), ppo.LengthReward(**settings))


def iterate(settings: SimpleNamespace, **changes: object) -> tuple[dict[str, float], ppo.Networks, dict]:
    """One iteration from fresh networks: its row, the networks after it, their engines."""
    processes.join()
    own = networks()
    engines = ppo.start(own, PROMPT, settings, compute(**changes))
    row = ppo.iterate(own, engines, controllers(), tokens(16, PROMPT), 1, settings)[1]
    return row, own, engines


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_before_the_first_update_policy_and_reference_are_one(precision: str, temperature: float) -> None:
    """One epoch of one minibatch: nothing has moved, so no ratio is clipped and no KL is paid."""
    row, _, _ = iterate(ppo_settings(epochs=1, minibatch=16, precision=precision, temperature=temperature))
    assert row["kl"] == pytest.approx(0, abs=1e-4)
    assert row["clip_fraction"] == 0
    assert row["step_kl"] == pytest.approx(0, abs=1e-5)
    assert row["policy_loss"] == pytest.approx(0, abs=1e-3)  # whitened advantages at a ratio of one
    assert 0 < row["entropy"] < 4.2


def align(
    folder: Path,
    run: Run,
    *,
    micro_batch: int = 0,
    record: Callable[[int, Experience], None] = lambda iteration, seen: None,
    own: dict[str, Any] | None = None,
    **changes: object,
) -> tuple[list[dict], torch.Tensor]:
    """The history of a training with these `changes` of the settings, and its `own` of how it is computed; the policy's
    weights."""
    policy, reference = speaker(), speaker()
    value, reward = (rewards_.on_policy(network(), seed=0) for _ in range(2))
    reward.config.reward_mean, reward.config.reward_std = 0.0, 1.0
    settings = ppo_settings(**changes)
    history = ppo.align(
        ppo.Networks(policy, value, reference, reward, ANSWER, micro_batch or settings.minibatch),
        tokens(40, PROMPT),
        settings,
        Job("ppo", settings.seed, compute(micro_batch=micro_batch, **own or {}), run, folder),
        record,
    )
    return history, torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])


def test_reward_rises_and_a_dearer_kl_holds_it_back(tmp_path: Path) -> None:
    cheap, _ = align(tmp_path / "cheap", Run(), iterations=25, kl_coefficient=0.0, kl_gain=0.0)
    dear, _ = align(tmp_path / "dear", Run(), iterations=25, kl_coefficient=1.0, kl_gain=0.0)

    def last(history: list[dict], name: str) -> float:
        return sum(row[name] for row in history[-5:]) / 5

    assert last(cheap, "reward") > cheap[0]["reward"] + 2 * cheap[0]["reward_std"] / 4
    assert last(cheap, "kl") > 2 * last(dear, "kl")


def test_it_is_a_function_of_its_seed(tmp_path: Path) -> None:
    one, same, other = (
        align(tmp_path / str(i), Run(), iterations=2, seed=seed) for i, seed in enumerate((1, 1, 2))
    )
    assert one[0] == same[0]
    assert torch.equal(one[1], same[1])
    assert not torch.equal(one[1], other[1])


def weights_of(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_micro_batches_change_neither_the_steps_nor_what_is_learned(micro_batch: int) -> None:
    """4 optimizer steps in 2 epochs of 16 responses of unequal length, and the same numbers, to rounding."""
    (whole, own, engines), (parts, others, split) = (
        iterate(ppo_settings(), micro_batch=micro) for micro in (0, micro_batch)
    )
    for name in ("policy", "value"):
        assert engines[name].global_steps == split[name].global_steps == 4
        mine, theirs = weights_of(getattr(own, name)), weights_of(getattr(others, name))
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-5)
    assert whole["response_length"] < ANSWER
    assert parts == pytest.approx(whole, rel=1e-3, abs=1e-5)


def test_a_micro_batch_that_does_not_divide_the_minibatch_is_told_before_anything_trains(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=r"^a batch of 8 rows .*compute\.micro_batch 3: it must be"):
        align(tmp_path, Run(), micro_batch=3)


def test_the_value_starts_no_worse_than_none(tmp_path: Path) -> None:
    """At the first iteration, of responses that its head was not fitted to."""
    history, _ = align(tmp_path, Run(), iterations=1, value_rollouts=8)
    assert history[0]["explained_variance"] > -0.05


def test_the_reward_for_length_takes_out_what_length_is_worth() -> None:
    """Returns that are a line over length, with the mean at the target, come out the same for all lengths."""
    lengths_B = torch.tensor([10, 20, 30])
    reward = ppo.LengthReward(target=20.0, gain=2.0)
    weight = reward.weight(-0.3 * lengths_B, lengths_B)
    left_B = -0.3 * lengths_B + reward.of(lengths_B, weight)
    torch.testing.assert_close(left_B, left_B.mean().expand(3))


def test_the_reward_for_length_draws_the_mean_to_the_target() -> None:
    short_B, long_B = torch.tensor([10, 12, 14]), torch.tensor([26, 28, 30])
    reward, same_B = ppo.LengthReward(target=20.0, gain=2.0), torch.ones(3)
    assert reward.weight(same_B, short_B) == pytest.approx(0.8)
    assert reward.weight(same_B, long_B) == pytest.approx(-0.8)
    assert reward.weight(same_B, torch.tensor([20, 20, 20])) == 0.0
    assert ppo.LengthReward(target=20.0, gain=0.0).weight(same_B * short_B, short_B) == 0.0


def test_responses_keep_their_length_though_short_ones_earn_more(tmp_path: Path) -> None:
    """A response without an end pays, so that without the reward for length responses would end ever earlier."""
    shared = {"iterations": 25, "unfinished_penalty": 3.0, "kl_coefficient": 0.02, "kl_gain": 0.0}
    free, _ = align(tmp_path / "free", Run(), **shared)
    held, _ = align(tmp_path / "held", Run(), **shared, length_gain=5.0)
    start = held[0]["response_length"]

    def last(history: list[dict]) -> float:
        return sum(row["response_length"] for row in history[-5:]) / 5

    assert last(free) < 0.8 * start
    assert last(held) > 0.8 * start


@pytest.mark.parametrize("which", ["policy_optimizer", "value_optimizer"])
@pytest.mark.parametrize(
    ("epochs", "minibatch", "found"), [(1, 16, "the weights are"), (3, 8, r"(policy|value)_loss is nan")]
)
def test_it_stops_at_the_first_iteration_that_is_not_finite(
    tmp_path: Path, which: str, epochs: int, minibatch: int, found: str
) -> None:
    """By its losses, or by what the last of its steps leaves."""
    broken = {which: optimizer(rate=float("inf")), "epochs": epochs, "minibatch": minibatch}
    with pytest.raises(InputError, match=rf"^ppo: {found}.* step 1: lower the learning rate"):
        align(tmp_path, Run(), iterations=3, **broken)
    assert list(tmp_path.iterdir()) == []
