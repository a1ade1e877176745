"""How a stage trains: the engine's loop with what the stage knows of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from jokbo import params
from jokbo.training import engine
from tasks.stage import Stage

if TYPE_CHECKING:
    from jokbo.params import Family, FamilyBaselines, Training


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


def recipe(
    settings: Family | FamilyBaselines,
    precision: str,
    learning_rate: float,
    steps: int,
    batch: int,
    warmup: int,
    muon: float | None = None,
) -> Training:
    """The training that all of the family share: with AdamW, or with Muon at the rate `muon` on hidden matrices."""
    optimizer = params.Optimizer(
        name="adamw" if muon is None else "muon",
        learning_rate=learning_rate if muon is None else muon,
        adam_learning_rate=learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )
    return params.Training(
        steps=steps,
        batch=batch,
        precision=precision,
        optimizer=optimizer,
        warmup_steps=min(warmup, steps - 1),
        decay_fraction=settings.decay_fraction,
        gradient_clip=settings.gradient_clip if muon is None else 0.0,
    )
