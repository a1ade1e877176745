"""Runs that take seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jokbo.control import a2c, a3c, ppo
from jokbo.control.job import Job
from jokbo.control.settings import A2c, A3c, Clip, Ppo, Setting, Task

TRAINED = {"a2c": a2c.trained, "a3c": a3c.trained, "ppo": ppo.trained}
CRITIC: dict[str, Any] = {
    "workers": 2,
    "segment": 16,
    "learning_rate": 0.005,
    "decay": 0.99,
    "epsilon": 0.1,
    "discount": 0.99,
    "value_coefficient": 0.5,
    "entropy_coefficient": 0.01,
}
PPO: dict[str, Any] = {
    "environments": 8,
    "horizon": 64,
    "epochs": 10,
    "minibatch": 128,
    "learning_rate": 0.003,
    "discount": 0.98,
    "gae_lambda": 0.9,
    "value_coefficient": 0.5,
    "entropy_coefficient": 0.0,
}
CLIP = Clip(kind="clip", epsilon=0.2)
ODD = "tests.control.odd:Odd-v0"


def a2c_of(**changes: Any) -> Setting:
    return Setting("a2c", A2c(kind="a2c", **{**CRITIC, **changes}), None)


def a3c_of(**changes: Any) -> Setting:
    return Setting("a3c", A3c(kind="a3c", **{**CRITIC, "rest_steps": 256, **changes}), None)


def ppo_of(surrogate: Any = CLIP, **changes: Any) -> Setting:
    return Setting("ppo", Ppo(kind="ppo", surrogates=[surrogate], **{**PPO, **changes}), surrogate)


def job(
    setting: Setting, folder: Path, environment: str = "CartPole-v1", steps: int = 2048, seed: int = 1
) -> Job:
    """Return a run that saves after every update."""
    return Job(
        "cartpole", Task(environment=environment, steps=steps), setting, seed, (32, 32), 20, folder, 0.0
    )
