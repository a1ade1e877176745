"""What `jokbo tree` knows of a model, put together so that it can leave the project with it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from jokbo.runtime import ancestry
from jokbo.runtime.ancestry import Record
from jokbo.team.comparing.lineage import of_model, tree

WIDTH = 1000  # characters of a line of the tree, so that none is broken


@dataclass(frozen=True)
class Lineage:
    """A model's weights, and the records of it and its ancestors. None if no stage of ours made it."""

    weights: str  # sha256
    records: Mapping[str, Any]  # weights -> the record, with `model`, its path, and `commit`
    tree: str  # as text; empty without records

    def json(self) -> str:
        """Return it as the JSON that goes with every export."""
        return json.dumps(
            {"weights": self.weights, "records": self.records}, indent=1, sort_keys=True, ensure_ascii=False
        )


def lineage(model: Path, commit_of: Callable[[str], str | None]) -> Lineage:
    """Return who a model descends from. `commit_of` maps a stage's key to a git commit.

    Raises InputError if the record beside the model is damaged, or is of other weights.
    """
    weights = ancestry.weights_of(model)
    if not ancestry.has_record(model):
        return Lineage(weights, {}, "")
    record = replace(Record.load(model), weights=weights)  # of one of several models, its own
    known = {
        weights: (_short(Path(path)), record)
        for weights, (path, record) in ancestry.records_beside(model).items()
    }
    found: dict[str, Any] = {}

    def add(path: str, record: Record) -> None:
        found[record.weights] = {"model": path, "commit": commit_of(record.key), **asdict(record)}
        for weights in record.parents.values():
            if weights in known and weights not in found:
                add(*known[weights])

    add(_short(model), record)
    page = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    with page.capture() as drawn:
        page.print(tree(of_model(_short(model), record, known, commit_of)))
    return Lineage(record.weights, found, "\n".join(map(str.rstrip, drawn.get().splitlines())))


def _short(model: Path) -> str:
    """Return the path from the project on, such as models/aligned: where that stands on this machine is no concern."""
    project = ancestry.recorded(model).resolve().parent.parent
    return model.resolve().relative_to(project).as_posix()
