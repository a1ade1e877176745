"""What a part of the benchmark has found so far, on disk from the moment that it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from jokbo.runtime.files import read_if_there, write_text
from tasks.frame.paths import STATE

FOLDER = STATE / "benchmarks" / "gpu"  # sheets, logs, and the projects that run


@dataclass
class Sheet:
    """The rows of a part's table, and sentences below it."""

    name: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, name: str) -> Sheet:
        """Return what the part left: nothing if it left nothing."""
        found: Any = read_if_there(cls._path(name)) or {"name": name}
        return cls(**found)

    @staticmethod
    def _path(name: str) -> Path:
        return FOLDER / f"{name}.json"

    def save(self) -> None:
        write_text(self._path(self.name), json.dumps(asdict(self)) + "\n")

    def row(self, *cells: str) -> None:
        self.rows.append([*cells])
        self.save()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.save()

    def tried(self, name: str, measured: Callable[[], list[str]]) -> None:
        """Add the row that is measured; where that fails, a row with the error's first line, and go on."""
        try:
            cells = measured()
        except Exception as error:  # whatever it is, the other rows are still to come
            first = next(iter(str(error).splitlines()), "")
            cells = [f"{type(error).__name__}: {first}"[:200], *[""] * (len(self.header) - 2)]
        self.row(name, *cells)


def gigabytes(number: float) -> str:
    return f"{number / 1e9:.1f}"


def forget_peak() -> None:
    """Begin to measure `peak_memory` anew."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> str:
    """Return the most that this process's tensors took of a GPU, GB; nothing on a CPU."""
    return gigabytes(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else ""
