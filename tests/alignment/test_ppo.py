"""PPO: each formula against its definition, and the whole on a task whose response is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from jokbo.alignment import mix, ppo
from jokbo.alignment import reward as rewards_
from jokbo.alignment.controllers import Controllers, KlController, LengthReward
from jokbo.alignment.networks import Networks, collect
from jokbo.alignment.rollouts import Experience
from jokbo.alignment.value import response_values
from jokbo.models import causal
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run
from jokbo.sampling import response_log_probs, sample
from jokbo.training import engine, processes
from jokbo.training.job import Job
from tests.support.networks import END, compute, network, optimizer, tokens

PROMPT, ANSWER = 4, 6


class Killed(Exception):
    pass


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
        "gae_alpha": None,
        "value_lambda": None,
        "clip": 0.2,
        "value_clip": 0.2,
        "kl_coefficient": 0.05,
        "kl_target": 3.0,
        "kl_gain": 0.1,
        "stop_kl": None,
        "length_gain": 0.0,
        "reward_centre": None,
        "novelty": 0.0,
        "value_rollouts": 1,
        "value_warmup": 0,
        "unfinished_penalty": 0.0,
        "pretraining_mix": None,
        "policy_optimizer": optimizer(rate=0.003),
        "value_optimizer": optimizer(rate=0.003),
        "gradient_clip": 1.0,
        "precision": "fp32",
        "rollouts_every": 2,
    }
    return SimpleNamespace(**{**values, **changes})


def test_the_clipped_losses_from_their_definitions() -> None:
    policy = network().eval()
    rollout = sample(policy, tokens(6, PROMPT), response_tokens=ANSWER, temperature=1.0, seed=1)
    mask = rollout.mask_BR
    with torch.no_grad():
        now = response_log_probs(policy, rollout.tokens_BS, PROMPT, 1.0)
    old, advantages = now + 0.3 * torch.randn_like(now), torch.randn_like(now)
    weights = causal.mean_one(mask)
    loss, metrics = ppo.PolicyLoss(policy, ppo_settings(), PROMPT)(
        rollout.tokens_BS, weights, old, advantages
    )
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
        predicted = response_values(value, rollout.tokens_BS, PROMPT)
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
    before, after = (response_values(value, rows, PROMPT)[0] for rows in (one, other))
    torch.testing.assert_close(before[:3], after[:3])
    assert not torch.allclose(before[3:], after[3:])


def speaker() -> PreTrainedModel:
    """A network that comes to the end of some of its responses."""
    made = network().eval()
    with torch.no_grad():
        states_BTD = made.base_model(input_ids=tokens(16, 8)).last_hidden_state
        made.get_output_embeddings().weight[END] += 1.2 * states_BTD.mean((0, 1))
    return made


def networks(rows: int = 8) -> Networks:
    policy, reference = speaker(), speaker()
    value, reward = (rewards_.on_policy(network(), seed=0) for _ in range(2))
    reward.config.reward_mean, reward.config.reward_std = 0.0, 1.0
    for each in (policy, reference, value, reward):
        engine.prefer_attention(each)
        each.eval()
    return Networks(policy, value, reference, reward, ANSWER, rows)


def controllers(beta: float = 0.1, **length: float) -> Controllers:
    settings = {"target": 5.0, "gain": 0.0, **length}
    return Controllers(KlController(beta, 3.0, 0.1), LengthReward(**settings), ppo_settings())


def iterate(settings: SimpleNamespace, **changes: object) -> tuple[dict[str, float], Networks, dict]:
    """One iteration from fresh networks: its row, the networks after it, their engines."""
    processes.join()
    own = networks()
    engines = ppo.start(own, PROMPT, settings, compute(**changes))
    row = ppo.iterate(own, engines, controllers(), ppo.Inputs(tokens(16, PROMPT), 1), settings)[1]
    return row, own, engines


def test_a_response_without_an_end_of_text_pays_and_no_other() -> None:
    free, dear = (
        collect(networks(), tokens(16, PROMPT), 1, ppo_settings(unfinished_penalty=price))
        for price in (0.0, 2.0)
    )
    ended_B = free.rollout.ended_B(END)
    assert 0 < ended_B.sum() < 16
    torch.testing.assert_close(free.scores_B - dear.scores_B, torch.where(ended_B, 0.0, 2.0))


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


def test_no_network_drops_anything_out(tmp_path: Path) -> None:
    """Networks with dropout, in training mode: policy and reference are one before the first step, and in it."""
    policy, reference = network("gpt2"), network("gpt2")
    value, reward = (rewards_.on_policy(policy, seed=0) for _ in range(2))
    reward.config.reward_mean, reward.config.reward_std = 0.0, 1.0
    all_four = (policy, value, reference, reward)
    for module in (module for each in all_four for module in each.train().modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    settings = ppo_settings(iterations=1, epochs=1, minibatch=16)
    (row,) = ppo.align(
        Networks(*all_four, ANSWER, 16),
        tokens(40, PROMPT),
        settings,
        Job("ppo", 1, compute(), Run(), tmp_path),
    )
    assert row["kl"] == pytest.approx(0, abs=1e-4)
    assert row["step_kl"] == pytest.approx(0, abs=1e-5)
    assert not any(each.training for each in all_four)


def align(
    folder: Path,
    run: Run,
    *,
    micro_batch: int = 0,
    record: Callable[[int, Experience], None] = lambda iteration, seen: None,
    own: dict[str, Any] | None = None,
    texts_at: Callable[[int], mix.Texts] | None = None,
    **changes: object,
) -> tuple[list[dict], torch.Tensor]:
    """The history of a training with these `changes` of the settings, and its `own` of how it is computed; the policy's
    weights."""
    policy, reference = speaker(), speaker()
    value, reward = (rewards_.on_policy(network(), seed=0) for _ in range(2))
    reward.config.reward_mean, reward.config.reward_std = 0.0, 1.0
    settings = ppo_settings(**changes)
    history = ppo.align(
        Networks(policy, value, reference, reward, ANSWER, micro_batch or settings.minibatch),
        tokens(40, PROMPT),
        settings,
        Job("ppo", settings.seed, compute(micro_batch=micro_batch, **own or {}), run, folder),
        record,
        texts_at,
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


def test_it_ends_with_the_first_iteration_that_is_too_far_from_the_reference(tmp_path: Path) -> None:
    """Until then it is the training without the switch, and killed it ends in the same place."""
    changes = {"iterations": 12, "kl_coefficient": 0.0, "kl_gain": 0.0, "own": {"checkpoint_seconds": 0.0}}
    free, _ = align(tmp_path / "free", Run(), **changes)
    limit = free[5]["kl"]
    first = next(row["step"] for row in free if row["kl"] > limit)
    seen: list[int] = []

    def kill(iteration: int, experience: Experience) -> None:
        if iteration == 2:
            raise Killed

    own = {**changes, "stop_kl": limit, "rollouts_every": 2}
    held, weights = align(tmp_path / "held", Run(), record=lambda iteration, _: seen.append(iteration), **own)
    assert held == free[:first]
    assert seen == ppo.recorded(ppo_settings(rollouts_every=2), first)
    with pytest.raises(Killed):
        align(tmp_path / "killed", Run(), record=kill, **own)
    again, same = align(tmp_path / "killed", Run(), **own)
    assert again == held
    assert torch.equal(weights, same)


def test_while_the_value_warms_up_nothing_else_moves(tmp_path: Path) -> None:
    history, _ = align(tmp_path, Run(), iterations=3, value_warmup=2, kl_gain=0.5)
    assert [row["kl"] for row in history] == pytest.approx([0, 0, 0], abs=1e-4)
    assert [row["beta"] for row in history] == [0.05] * 3
    assert [row["step_kl"] > 0 for row in history] == [False, False, True]
    assert [row["policy_loss"] for row in history][:2] == [0.0, 0.0]
    assert all(row["value_loss"] > 0 for row in history)


@pytest.mark.parametrize("killed_in", [2, 3])
def test_with_every_switch_on_it_goes_on_exactly_where_it_was_killed(tmp_path: Path, killed_in: int) -> None:
    """In the last iteration of the value's warm-up, and after it."""

    def kill(iteration: int, seen: Experience) -> None:
        if iteration == killed_in:
            raise Killed

    changes = {
        "iterations": 4,
        "value_warmup": 2,
        "value_lambda": 1.0,
        "gae_lambda": None,
        "gae_alpha": 0.5,
        "reward_centre": 0.5,
        "novelty": 1.0,
        "pretraining_mix": SimpleNamespace(coefficient=0.5, sequences=1, packing="joined"),
        "rollouts_every": 1,
        "epochs": 1,
        "own": {"checkpoint_seconds": 0.0},
        "texts_at": lambda step: {
            "text_tokens_BS": tokens(8, 12, seed=step)[:, None],
            "text_weights_BT": torch.ones(8, 1, 11),
        },
    }
    whole = align(tmp_path / "whole", Run(), **changes)
    with pytest.raises(Killed):
        align(tmp_path / "killed", Run(), record=kill, **changes)
    again = align(tmp_path / "killed", Run(), **changes)
    assert again[0] == whole[0]
    assert torch.equal(again[1], whole[1])
    assert "pretraining_loss" in whole[0][-1]
