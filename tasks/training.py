"""How a stage trains: the engine's loop with what the stage knows of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from jokbo.training import engine
from tasks.frame.stage import Stage

if TYPE_CHECKING:
    from jokbo.params import Training


def train(
    stage: Stage,
    objective: nn.Module,
    batch_at: Callable[[int], engine.Batch],
    settings: Training,
    *,
    part: str | None = None,
    **more: Any,
) -> list[dict[str, float]]:
    """`engine.train` with the stage's seed, checkpoints and MLflow run, and whatever `more` it is given. A stage of
    several trainings names each."""
    return engine.train(
        objective,
        batch_at,
        settings,
        stage.compute,
        seed=stage.params.seed,
        checkpoint_folder=stage.checkpoints / part if part else stage.checkpoints,
        run=stage.run,
        name=part or stage.name,
        **more,
    )
