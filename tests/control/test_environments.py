"""Environments against a simulation of our own, come back to, and those that cannot be learned."""

from __future__ import annotations

import sys
from math import cos, pi, sin, sqrt
from statistics import fmean, stdev

import numpy as np
import pytest

from jokbo.control.environments import Environments, make, random_returns
from jokbo.runtime.errors import InputError


def balanced(rng: np.random.Generator) -> int:
    """Return for how many steps a cart pushed at random holds its pole up (Barto, Sutton and Anderson 1983).

    Masses of 1 and 0.1, a half pole of 0.5, pushes of 10, steps of 0.02 s by Euler; it ends at 2.4 or 12 degrees.
    """
    x, v, angle, spin = rng.uniform(-0.05, 0.05, 4)
    for step in range(1, 501):
        force = 10 if rng.random() < 0.5 else -10
        pushed = (force + 0.1 * 0.5 * spin**2 * sin(angle)) / 1.1
        turned = (9.8 * sin(angle) - cos(angle) * pushed) / (0.5 * (4 / 3 - 0.1 * cos(angle) ** 2 / 1.1))
        moved = pushed - 0.1 * 0.5 * turned * cos(angle) / 1.1
        x, v, angle, spin = x + 0.02 * v, v + 0.02 * moved, angle + 0.02 * spin, spin + 0.02 * turned
        if abs(x) > 2.4 or abs(angle) > 12 * pi / 180:
            return step
    return 500


def test_a_random_policy_earns_on_cartpole_what_a_simulation_of_ours_says() -> None:
    count = 400
    found = random_returns("CartPole-v1", 0, count)
    rng = np.random.default_rng(1)
    ours = [balanced(rng) for _ in range(count)]
    error = sqrt((stdev(found) ** 2 + stdev(ours) ** 2) / count)
    assert abs(fmean(found) - fmean(ours)) < 3 * error
    assert error < 1


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])
def test_where_copies_stand_is_come_back_to(name: str) -> None:
    first, again = (Environments(name, 5, [2, 3]) for _ in range(2))
    rng = np.random.default_rng(0)
    for _ in range(45):  # some episodes of CartPole end, none of Acrobot's
        first.step(rng.integers(2, size=2).tolist())
    again.restore(first.state())
    np.testing.assert_array_equal(first.seen_NO, again.seen_NO)
    for _ in range(60):
        actions = rng.integers(2, size=2).tolist()
        (one, ended), (other, also) = first.step(actions), again.step(actions)
        assert all((a == b).all() for a, b in zip(one, other, strict=True))
        assert ended == also
    assert first.state() == again.state()


def test_no_two_copies_seeds_or_updates_are_alike() -> None:
    copies = Environments("CartPole-v1", 5, [0, 1])
    assert not np.array_equal(copies.seen_NO[0], copies.seen_NO[1])
    assert not np.array_equal(copies.seen_NO[0], Environments("CartPole-v1", 6, [0]).seen_NO[0])
    drawn = [copies.uniform(4, update) for update in (0, 1)]
    assert len({*np.concatenate(drawn).ravel().tolist()}) == 16
    np.testing.assert_array_equal(drawn[1][:, 1:], Environments("CartPole-v1", 5, [1]).uniform(4, 1))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CartPol-v1", "CartPol-v1: gymnasium makes no such environment"),
        ("no_such_module:X-v0", "no_such_module:X-v0: gymnasium makes no such environment"),
        ("Pendulum-v1", "Pendulum-v1: its actions are Box(-2.0, 2.0, (1,), float32), not a choice"),
        ("FrozenLake-v1", "FrozenLake-v1: what is seen there is Discrete(16), not a row of numbers"),
    ],
)
def test_what_cannot_be_learned_is_one_line(name: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        make(name)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_gymnasium_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InputError, match="gymnasium is not installed: pip install"):
        make("CartPole-v1")


def test_a_reward_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="Nan-v0: it gave the reward nan: correct it"):
        random_returns("tests.control.odd:Nan-v0", 0, 21)
