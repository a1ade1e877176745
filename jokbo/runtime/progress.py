"""How long work shows itself: a bar on a terminal; of a training also a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn, track
from rich.progress import Progress as RichProgress

from jokbo.runtime import launcher

LINE_SECONDS = 10.0

Item = TypeVar("Item")


class Progress:
    """`with Progress("pretrain", 1000, done=0, writes=folder) as progress: progress.advance(loss=4.2)`"""

    def __init__(self, name: str, steps: int, *, done: int, writes: Path | None) -> None:
        self.name, self.steps, self.done, self.writes = name, steps, done, writes
        self.shown = launcher.rank() == 0
        self.began_at, self.began = done, time.monotonic()
        self.last_line = self.began
        self.bar: RichProgress | None = None
        if self.shown and sys.stdout.isatty():
            self.bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:.1f} steps/s"),
                TextColumn("{task.fields[values]}"),
                TimeRemainingColumn(),
            )

    def __enter__(self) -> Progress:
        if self.shown:
            resumed = f" from step {self.done}" if self.done else ""
            writes = f", checkpoints in {self.writes}" if self.writes else ""
            print(f"{self.name}: {self.steps} steps{resumed}{writes}", flush=True)
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(
                self.name, total=self.steps, completed=self.done, rate=0.0, values=""
            )
        return self

    def advance(self, **values: float) -> None:
        self.done += 1
        now = time.monotonic()
        rate = (self.done - self.began_at) / max(now - self.began, 1e-9)
        text = "  ".join(f"{key} {value:.3f}" for key, value in values.items())
        if self.bar:
            self.bar.update(self.task, completed=self.done, rate=rate, values=text)
        elif self.shown and (now - self.last_line >= LINE_SECONDS or self.done == self.steps):
            self.last_line = now
            left = (self.steps - self.done) / rate
            print(
                f"{self.name}: {self.done}/{self.steps}  {text}  {rate:.1f} steps/s  {left:.0f} s left",
                flush=True,
            )

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items, with a bar named `what` on stderr if that is a terminal."""
    console = Console(file=sys.stderr)
    yield from track(
        items, what, total=total, console=console, disable=not console.is_terminal, transient=True
    )
