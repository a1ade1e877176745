"""Environments that no algorithm here can learn, and one that is quick to step."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np


class Odd(gymnasium.Env):
    """It pays 1 or 2 for an action, 5 steps an episode; no number once it has been stepped too often."""

    observation_space: ClassVar = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space: ClassVar = gymnasium.spaces.Discrete(2)

    def __init__(self, most: int) -> None:
        self.most, self.steps, self.all_steps = most, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps, self.all_steps = self.steps + 1, self.all_steps + 1
        paid = 1.0 + int(action) if self.all_steps <= self.most else float("nan")
        seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return seen, paid, self.steps == 5, False, {}


for name, most in (("Odd-v0", 2**60), ("Nan-v0", 100)):
    gymnasium.register(name, entry_point="tests.control.odd:Odd", kwargs={"most": most})
