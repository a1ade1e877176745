"""How everything that is compared is trained: systems and baselines alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from transformers import Adafactor

from jokbo import params
from jokbo.comparison.search import Classifier, Task, batches
from jokbo.runtime.tracking import Run
from jokbo.training import engine
from jokbo.training.job import Job

if TYPE_CHECKING:
    from jokbo.params import Compute, Family, FamilyBaselines, Optimizer, Training
    from jokbo.params.base import Precision


def training_settings(
    settings: Family | FamilyBaselines,
    optimizer: Optimizer,
    precision: Precision,
    steps: int,
    batch_size: int,
    warmup: int,
) -> Training:
    """Return a training of so many steps, by what is the same for all of the section."""
    return params.Training(
        steps=steps,
        batch_size=batch_size,
        precision=precision,
        optimizer=optimizer,
        warmup_steps=min(warmup, steps - 1),
        decay_fraction=settings.decay_fraction,
        gradient_clip=0.0 if optimizer.name == "muon" else settings.gradient_clip,
    )


def of_search(
    settings: Family | FamilyBaselines, precision: Precision, learning_rate: float, steps: int
) -> Training:
    """Return the fine-tuning that the section asks for, at one of its learning rates, for so many steps."""
    sought = settings.finetune
    warmup = round(sought.warmup_fraction * steps)
    return training_settings(
        settings, adamw(settings, learning_rate), precision, steps, sought.batch_size, warmup
    )


def fine_tune(
    classifier: Classifier, task: Task, training: Training, seed: int, compute: Compute, own: engine.Overrides
) -> None:
    """Train a classifier in place. It is a matter of seconds: nothing is saved or logged on the way."""
    name = f"{task.name} {training.optimizer.adam_learning_rate:g} {seed}"
    job = Job(name, seed, compute, Run(), checkpoints=None)
    engine.train(classifier, batches(task, training.batch_size, seed), training, job, own)


def adamw(settings: Family | FamilyBaselines, learning_rate: float) -> Optimizer:
    return params.Optimizer(
        name="adamw",
        learning_rate=learning_rate,
        adam_learning_rate=learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )


def muon(settings: Family, learning_rate: float) -> Optimizer:
    """Return Muon at the rate that all share on hidden matrices, and AdamW at `learning_rate` on the rest."""
    rates = {"name": "muon", "learning_rate": settings.muon_learning_rate}
    return adamw(settings, learning_rate).model_copy(update=rates)


def adafactor(learning_rate: float, objective: nn.Module) -> Adafactor:
    """Return Adafactor as T5 has it (Raffel et al. 2020, section 3.1.2): the rate is a share of each matrix's own
    scale."""
    return Adafactor(objective.parameters(), lr=learning_rate, scale_parameter=True, relative_step=False)
