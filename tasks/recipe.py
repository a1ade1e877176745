"""How everything in the family is trained: systems and baselines alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from transformers import Adafactor

from jokbo import params
from jokbo.comparison.search import Classifier, Task, batches
from jokbo.runtime.tracking import Run
from jokbo.training import engine
from jokbo.training.job import Job
from tasks.frame.stage import Stage

if TYPE_CHECKING:
    from jokbo.params import Family, FamilyBaselines, Training


def fine_tune(
    stage: Stage,
    classifier: Classifier,
    task: Task,
    training: Training,
    seed: int,
    own: engine.Own,
) -> None:
    """Train a classifier in place. It is a matter of seconds: nothing is saved or logged on the way."""
    name = f"{task.name} {training.optimizer.adam_learning_rate:g} {seed}"
    job = Job(name, seed, stage.compute, Run(), checkpoints=None)
    engine.train(classifier, batches(task, training.batch, seed), training, job, own)


def of_search(stage: Stage, precision: str, learning_rate: float) -> Training:
    """Return the fine-tuning that the stage's section asks for, at one of its learning rates."""
    sought = stage.params.finetune
    warmup = round(sought.warmup_fraction * sought.steps)
    return recipe(stage.params, precision, learning_rate, sought.steps, sought.batch, warmup)


def adafactor(learning_rate: float, objective: nn.Module) -> Adafactor:
    """Adafactor as T5 has it (Raffel et al. 2020, section 3.1.2): the rate is a share of each matrix's own scale."""
    return Adafactor(objective.parameters(), lr=learning_rate, scale_parameter=True, relative_step=False)


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
