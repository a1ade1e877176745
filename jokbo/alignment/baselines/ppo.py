"""PPO itself, as the stage `align` trains it: what the baselines are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jokbo.alignment import ppo
from jokbo.alignment.baselines.common import Given, Made, Plan, begun, of_network

if TYPE_CHECKING:
    from jokbo.alignment.rollouts import Experience
    from jokbo.params import PpoItself


def made(given: Given, own: PpoItself) -> Made:
    """Return what came of PPO. Its samples are counted with those that its value's head is fitted to."""
    settings = given.settings.model_copy(
        update={"rollouts_every": 1}
    )  # so that every iteration's end is told
    clock = begun(given)
    plan = Plan(settings.rollout_batch, spent=settings.value_rollouts * settings.rollout_batch)

    def record(iteration: int, seen: Experience) -> None:
        clock.done(iteration)

    history = ppo.align(given.networks, given.prompts_NP, settings, given.job, record)
    return of_network(given, clock.beside(history, plan))
