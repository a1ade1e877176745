"""What a training is told by whoever starts it, and does not learn from: its name, and how and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
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
