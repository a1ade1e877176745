"""The principles by which a model judges or revises, and which one is drawn for an item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from jokbo import params
from jokbo.data.keys import digest, partition_of
from jokbo.params import Revision
from jokbo.runtime.errors import InputError

OURS = Path(__file__).with_suffix(".yaml")
Principle = TypeVar("Principle")


def comparisons(file: Path = OURS) -> list[str]:
    """Return the principles of a file by which responses are compared. InputError, one line, if it has none."""
    if (found := params.load_constitution(file).comparison) is None:
        raise InputError(f"{file}: comparison is missing: add the principles by which responses are compared")
    return found


def revisions(file: Path = OURS) -> list[Revision]:
    """Return the principles of a file by which answers are revised. InputError, one line, if it has none."""
    if (found := params.load_constitution(file).revision) is None:
        raise InputError(f"{file}: revision is missing: add principles, each with a critique and a revision")
    return found


def drawn(principles: Sequence[Principle], seed: int, item: str) -> Principle:
    """Return one of the principles by chance: a function of the seed and the item alone."""
    return principles[partition_of(digest(item, seed), len(principles))]
