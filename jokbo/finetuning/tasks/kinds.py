"""The kinds of labelled tasks, by their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jokbo.finetuning.tasks.choice import Choice
from jokbo.finetuning.tasks.classification import Classification
from jokbo.finetuning.tasks.kind import Kind
from jokbo.finetuning.tasks.pairs import Pairs

if TYPE_CHECKING:
    from jokbo.params import chain


def of(settings: chain.Classification | chain.Pairs | chain.Choice) -> Kind:
    """Return the kind that a task's settings name."""
    if settings.kind == "pairs":
        return Pairs(settings.symmetric)
    return Classification() if settings.kind == "classification" else Choice()
