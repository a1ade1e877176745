"""What a stage leaves out: said on the terminal, and logged."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from jokbo.data.losses import MUCH, part
from tasks.stage import Stage, leads


def say(stage: Stage, lines: Iterable[str]) -> None:
    """Prints the lines to stderr, each with the stage before it."""
    for line in lines:
        if leads():
            print(f"jokbo: {stage.name}: {line}", file=sys.stderr, flush=True)


def note(stage: Stage, name: str, left_out: int, whole: int, what: str) -> None:
    """Logs how many were left out as left_out/NAME, and says so if it is much; `what` says of what and why."""
    stage.run.log({f"left_out/{name}": left_out})
    if left_out > MUCH * whole:
        say(stage, [f"{part(left_out, whole, what)}"])
