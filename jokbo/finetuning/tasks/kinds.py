"""The kinds of labelled tasks, by their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jokbo.finetuning.tasks.classification import Classification
from jokbo.finetuning.tasks.kind import Kind

if TYPE_CHECKING:
    from jokbo.params.chain import LabelledTask


def of(settings: LabelledTask) -> Kind:
    """Return the kind that a task's settings name."""
    return Classification()
