"""The downstream tasks: labelled texts of the chain's documents, on which the systems are fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict, concatenate_datasets

from jokbo.data.selection import check_sources, labelled_from
from jokbo.data.tables import save_tables
from jokbo.runtime.errors import InputError, about

if TYPE_CHECKING:
    from jokbo import params

Rows = tuple[list[str], list[int]]  # texts and labels


def tasks_of(documents: DatasetDict, settings: params.FamilyText) -> dict[str, dict[str, Rows]]:
    """Return texts and labels by task and split; no text is in two splits.

    Raises InputError for a source without documents, and for a split whose rows are not of two classes.
    """
    splits = {
        "train": documents["train"],
        "validation": documents["validation"],
        "test": concatenate_datasets([documents[split] for split in settings.test_splits]),
    }
    found: dict[str, dict[str, Rows]] = {}
    for name, task in settings.tasks.items():
        with about(f"family_text.tasks.{name}"):
            check_sources(splits["train"], task.sources)
            found[name] = {split: _rows(split, each, task, settings) for split, each in splits.items()}
    return found


def save(splits: Mapping[str, Rows], path: Path) -> dict[str, dict[str, float]]:
    """Write a task that `load_from_disk` opens. Returns the `rows` of each split, and the share with label 1."""
    save_tables(
        {split: pa.table({"text": texts, "label": labels}) for split, (texts, labels) in splits.items()}, path
    )
    return {
        split: {"rows": len(labels), "positive": sum(labels) / len(labels)}
        for split, (_, labels) in splits.items()
    }


def _rows(split: str, documents: Dataset, task: params.Task, settings: params.FamilyText) -> Rows:
    """Return the rows of a split, in an order of chance: any first part of them is as good as another."""
    with about(split):
        texts, labels = labelled_from(documents, *task.sources, neutral=task.neutral)
        order = np.random.default_rng(settings.seed).permutation(len(texts))
        texts, labels = [texts[row] for row in order], [labels[row] for row in order]
        if len(classes := set(labels)) < 2:
            raise InputError(
                f"all {len(labels)} rows are of class {classes.pop()}: name sources with both classes"
            )
    return texts, labels
