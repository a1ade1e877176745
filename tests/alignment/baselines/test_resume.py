"""Each baseline killed in a rollout, in an update and after one: it ends with the same weights, rows and responses."""

from __future__ import annotations

import math
import statistics
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jokbo.alignment.baselines.common import Given, Made
from jokbo.runtime.errors import InputError
from tests.alignment.baselines.small import (
    Killed,
    given,
    kill_in_rollout,
    kill_in_update,
    weights,
)
from tests.support.networks import optimizer

RATE, FAST = optimizer(rate=0.003), optimizer(rate=0.012)
OWN: dict[str, dict[str, Any]] = {
    "rloo": {
        "kind": "reinforce",
        "batch": 16,
        "responses_per_prompt": 4,
        "baseline": "leave_one_out",
        "decay": 0.0,
        "optimizer": RATE,
    },
    "reinforce": {
        "kind": "reinforce",
        "batch": 16,
        "responses_per_prompt": 1,
        "baseline": "moving_average",
        "decay": 0.5,
        "optimizer": RATE,
    },
    "grpo": {"kind": "grpo", "responses_per_prompt": 4, "corrected": False},
    "a2c": {
        "kind": "a2c",
        "batch": 16,
        "gae_lambda": 1.0,
        "policy_optimizer": RATE,
        "value_optimizer": RATE,
    },
    "dpo": {
        "kind": "dpo",
        "online": False,
        "length_normalised": False,
        "beta": 0.3,
        "optimizer": RATE,
    },
    "dpo_online": {
        "kind": "dpo",
        "online": True,
        "length_normalised": True,
        "beta": 2.0,
        "optimizer": RATE,
    },
    "ppo": {"kind": "ppo"},
    "a3c": {
        "kind": "a3c",
        "workers": 1,
        "batch": 16,
        "gae_lambda": 1.0,
        "policy_rate": 0.0003,
        "value_rate": 0.0003,
        "decay": 0.9,
    },
}
SETTINGS = {"iterations": 3, "kl_gain": 0.5, "length_gain": 1.0}


def made(name: str, what: Given, **changes: object) -> Made:
    own = SimpleNamespace(**{**OWN[name], **changes})
    return import_module(f"jokbo.alignment.baselines.{own.kind}").made(what, own)


def without_time(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def goes_on_exactly(name: str, tmp_path: Path, killed: Given) -> None:
    with pytest.raises(Killed):
        made(name, killed)
    again = made(name, given(tmp_path / "killed", **SETTINGS))
    whole = made(name, given(tmp_path / "whole", **SETTINGS))
    assert without_time(again.history) == without_time(whole.history)
    assert again.policy is not None
    assert whole.policy is not None
    assert torch.equal(weights(again.policy), weights(whole.policy))
    assert not torch.equal(weights(whole.policy), weights(given(tmp_path, **SETTINGS).networks.reference))
    assert torch.equal(again.responses.rewards_B, whole.responses.rewards_B)
    seconds = [row["seconds"] for row in again.history]
    assert seconds == sorted(seconds)
    assert whole.history[-1]["samples"] == 64


@pytest.mark.parametrize("name", [name for name in OWN if name != "a3c"])
@pytest.mark.parametrize("where", ["rollout", "update", "logged"])
def test_it_goes_on_exactly_where_it_was_killed(name: str, where: str, tmp_path: Path) -> None:
    """In the second iteration."""
    killed = given(tmp_path / "killed", kill_at=2 if where == "logged" else None, **SETTINGS)
    if where == "rollout":
        fitted = name in ("ppo", "a2c")  # a rollout before the first iteration, for the value's head
        kill_in_rollout(killed, 3 if fitted else 2)
    if where == "update":
        kill_in_update(
            killed, 2 if name in ("rloo", "reinforce", "a2c") else 6
        )  # of one step each, or of four
    goes_on_exactly(name, tmp_path, killed)


def test_one_asynchronous_worker_goes_on_exactly_from_a_whole_checkpoint(tmp_path: Path) -> None:
    """With one there is one order: what a checkpoint lacked of weights or moments would show."""
    goes_on_exactly("a3c", tmp_path, given(tmp_path / "killed", kill_at=2, **SETTINGS))


def test_several_workers_spend_the_samples_and_raise_the_reward(tmp_path: Path) -> None:
    """In what order they do is nobody's to say, so this looks at what holds in any."""
    settings = {"iterations": 2, "kl_coefficient": 0.0, "kl_gain": 0.0}
    found = made("a3c", given(tmp_path, samples=16 * 61, **settings), workers=3, policy_rate=0.001)
    rewards = [row["reward"] for row in found.history]
    assert [row["step"] for row in found.history] == list(range(1, 61))
    assert found.history[-1]["samples"] == 16 * 61
    # enough of them that the noise of single updates, in whatever order, does not decide
    assert sum(rewards[-20:]) > sum(rewards[:20])


@pytest.mark.slow
def test_several_workers_that_were_killed_come_to_the_same_within_the_interval(tmp_path: Path) -> None:
    """Mean rewards of the updates after the kill, with their errors: of the killed training and of one that was not."""
    settings = {"iterations": 2, "kl_coefficient": 0.0, "kl_gain": 0.0}
    with pytest.raises(Killed):
        made("a3c", given(tmp_path / "killed", kill_at=8, samples=16 * 41, **settings), workers=2)
    (checkpoint,) = (tmp_path / "killed").glob("update-*")
    done = int(checkpoint.name.removeprefix("update-"))
    assert 0 < done < 8
    again, whole = (
        made("a3c", given(tmp_path / name, samples=16 * 41, **settings), workers=2).history[done:]
        for name in ("killed", "whole")
    )
    assert [row["step"] for row in again] == [row["step"] for row in whole] == list(range(done + 1, 41))
    means, errors = (
        [of([row["reward"] for row in rows]) for rows in (again, whole)]
        for of in (statistics.fmean, lambda rewards: statistics.stdev(rewards) / len(rewards) ** 0.5)
    )
    assert abs(means[0] - means[1]) < 4 * math.hypot(*errors)


def test_weights_that_are_not_finite_are_told_and_not_saved(tmp_path: Path) -> None:
    what = given(tmp_path, iterations=2)
    with pytest.raises(InputError, match="weights are not finite: lower policy_rate"):
        made("a3c", what, policy_rate=float("inf"))
    assert not list(tmp_path.glob("update-*"))


@pytest.mark.parametrize("name", ["rloo", "grpo", "a2c", "dpo_online"])
def test_reward_rises(name: str, tmp_path: Path) -> None:
    settings = {"iterations": 32, "kl_coefficient": 0.0, "kl_gain": 0.0}
    fast = {key: FAST for key in OWN[name] if key.endswith("optimizer")}
    history = made(name, given(tmp_path, samples=16 * 33, **settings), **fast).history
    rewards = [row["reward"] for row in history]
    spread = history[0]["reward_std"] / 4
    assert sum(rewards[-5:]) / 5 > rewards[0] + spread, rewards
