"""What a stage leaves out: said on the terminal, and logged."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jokbo.data.losses import MUCH
from tasks.frame.stage import Stage, leads

if TYPE_CHECKING:
    from jokbo.data.prompts import Continuations


def say(stage: Stage, lines: Iterable[str]) -> None:
    """Prints the lines to stderr, each with the stage before it."""
    for line in lines:
        if leads():
            print(f"jokbo: {stage.name}: {line}", file=sys.stderr, flush=True)


def note_prompts(stage: Stage, found: Continuations, asked: int | None = None) -> None:
    """Texts that gave no prompt, and prompts that were asked for and are not there."""
    what = "texts give no prompt, as no sentence drawn of theirs is long enough and ends within reach"
    note(stage, "without_prompt", found.without, found.texts, what)
    if asked and len(found) < asked:
        say(stage, [f"{asked:,} prompts are asked for, and the texts give {len(found):,}"])


def note(stage: Stage, name: str, left_out: int, whole: int, what: str) -> None:
    """Logs how many were left out as left_out/NAME, and says so if it is much; `what` says of what and why."""
    stage.run.log({f"left_out/{name}": left_out})
    if left_out > MUCH * whole:
        say(stage, [f"{left_out:,} of {whole:,} {what} ({left_out / whole:.0%})"])
