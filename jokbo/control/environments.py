"""Copies of an environment of gymnasium, each an endless row of episodes that can be come back to.

Episode number e of copy i begins by a seed that is a function of (seed, i, e). So where a copy stands is told by e and
the actions taken in it, and is come back to by taking them again: no simulator's state need be saved.

Shapes: N copies, O numbers of an observation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    import gymnasium

EPISODES, ACTIONS, MINIBATCHES, RANDOM = 1, 2, 3, 4  # what is drawn: no two purposes share a stream


class Step(NamedTuple):
    """What came of one action in each copy."""

    rewards_N: np.ndarray
    after_NO: np.ndarray  # what is seen after it, before another episode begins
    terminated_N: np.ndarray  # nothing more can be earned there
    ended_N: np.ndarray  # terminated, or cut short by the limit on an episode's steps


def rng_of(purpose: int, seed: int, index: int, number: int) -> np.random.Generator:
    """Return the generator of one purpose, copy and number."""
    return np.random.default_rng([purpose, seed, index, number])


def make(name: str) -> gymnasium.Env[Any, Any]:
    """Return an environment. InputError if there is none, or its actions are not a choice among a few."""
    try:
        import gymnasium
    except ImportError:
        raise InputError(
            "gymnasium is not installed: pip install 'gymnasium>=1.4,<1.5' (the extra `control`)"
        ) from None
    try:
        environment = gymnasium.make(name, disable_env_checker=True)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{name}: gymnasium makes no such environment ({said}): correct the name") from error
    actions, seen = environment.action_space, environment.observation_space
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise InputError(
            f"{name}: its actions are {actions}, not a choice: name one whose actions are Discrete"
        )
    if not isinstance(seen, gymnasium.spaces.Box) or len(seen.shape) != 1:
        raise InputError(
            f"{name}: what is seen there is {seen}, not a row of numbers: name another environment"
        )
    return environment


class Environments:
    """N copies of one environment, stepped together."""

    def __init__(self, name: str, seed: int, indices: Sequence[int]) -> None:
        self.name, self.seed, self.indices = name, seed, indices
        self.copies = [make(name) for _ in indices]
        space = self.copies[0].action_space
        self.start, self.actions = int(getattr(space, "start", 0)), int(space.n)  # pyright: ignore
        self.episodes = [0] * len(indices)
        self.taken: list[list[int]] = [[] for _ in indices]
        self.earned = [0.0] * len(indices)
        self.seen_NO = np.stack([self._begin(number) for number in range(len(indices))])

    def step(self, actions_N: Sequence[int]) -> tuple[Step, list[float]]:
        """Take an action in each copy; return what came of it, and the returns of the episodes that it ended."""
        returns, found = [], []
        for number, action in enumerate(actions_N):
            after, reward, terminated, truncated = self._act(number, int(action))
            self.taken[number].append(int(action))
            self.earned[number] += reward
            ended = terminated or truncated
            found.append((reward, after, terminated, ended))
            if ended:
                returns.append(self.earned[number])
                self.episodes[number] += 1
                self.taken[number], self.earned[number] = [], 0.0
                after = self._begin(number)
            self.seen_NO[number] = after
        rewards, after, terminated, ended = zip(*found, strict=True)
        return Step(
            np.array(rewards, np.float32), np.stack(after), np.array(terminated), np.array(ended)
        ), returns

    def uniform(self, count: int, update: int) -> np.ndarray:
        """Return what decides the actions of an update, [count, N]: each copy's is a function of its own number."""
        drawn = [rng_of(ACTIONS, self.seed, index, update).random(count) for index in self.indices]
        return np.stack(drawn, axis=1)

    def state(self) -> dict[str, Any]:
        """Return where each copy stands."""
        return {"episodes": [*self.episodes], "taken": [[*each] for each in self.taken]}

    def restore(self, state: dict[str, Any]) -> None:
        """Come back to where each copy stood: each episode is begun again and played as far as it was."""
        self.episodes = [*state["episodes"]]
        self.taken, self.earned = [[*each] for each in state["taken"]], [0.0] * len(self.copies)
        for number, actions in enumerate(self.taken):
            self.seen_NO[number] = self._begin(number)
            for action in actions:
                self.seen_NO[number], reward, *_ = self._act(number, action)
                self.earned[number] += reward

    def _begin(self, number: int) -> np.ndarray:
        draws = rng_of(EPISODES, self.seed, self.indices[number], self.episodes[number])
        seen, _ = self.copies[number].reset(seed=int(draws.integers(2**31)))
        return np.asarray(seen, np.float32)

    def _act(self, number: int, action: int) -> tuple[np.ndarray, float, bool, bool]:
        after, reward, terminated, truncated, _ = self.copies[number].step(self.start + action)
        if not math.isfinite(reward):
            raise InputError(
                f"{self.name}: it gave the reward {reward}: correct it, or name another environment"
            )
        return np.asarray(after, np.float32), float(reward), bool(terminated), bool(truncated)


def random_returns(name: str, seed: int, episodes: int) -> list[float]:
    """Return what episodes of a policy earn that chooses each action as often as any other."""
    environments, found, rng = Environments(name, seed, [0]), [], rng_of(RANDOM, seed, 0, 0)
    while len(found) < episodes:
        found += environments.step([int(rng.integers(environments.actions))])[1]
    return found
