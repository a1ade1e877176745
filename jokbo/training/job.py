"""What a training is told by whoever starts it, and does not learn from: its name, and how and where it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jokbo.params import Compute
    from jokbo.runtime.tracking import Run


@dataclass(frozen=True)
class Job:
    """One training of a stage."""

    name: str  # on the terminal, and before its metrics: NAME/loss
    seed: int
    compute: Compute
    run: Run
    checkpoints: Path | None  # the folder to save in and to go on from; None: for seconds, which a stop loses

    def part(self, name: str) -> Job:
        """Return the job of one of several trainings, with a name and a folder of its own."""
        return replace(self, name=name, checkpoints=self.checkpoints and self.checkpoints / name)

    @property
    def folder(self) -> Path:
        """The folder of what is kept of it. ValueError if nothing is."""
        if self.checkpoints is None:
            raise ValueError(f"{self.name}: nothing of it is kept, so nothing can be found again")
        return self.checkpoints
