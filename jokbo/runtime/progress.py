"""How long work shows itself: a bar on a terminal, a line now and then in a log.

No line is wider than 80 columns, the time of day before it included.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, track
from rich.progress import Progress as RichProgress

from jokbo.runtime import launcher

LINE_SECONDS = 10.0
STEPS = "JOKBO_STEPS"  # set by a flow: the file in which a training says that it did a step, and how long one takes
STEP_SECONDS = 1.0  # more often it is not written
WINDOW = 20  # steps whose speed tells how long the others will take

Item = TypeVar("Item")


class Progress:
    """`with Progress("pretrain", 1000, done=0, compiles=True) as progress: progress.advance(loss=4.2)`"""

    def __init__(self, name: str, steps: int, *, done: int, compiles: bool) -> None:
        self.name, self.steps, self.done, self.compiles = name, steps, done, compiles
        self.shown = launcher.rank() == 0
        self.began = self.last_line = time.monotonic()
        self.began_at = done
        self.ends: deque[float] = deque(
            maxlen=WINDOW + 1
        )  # of steps; not the beginning, for the first one compiles
        self.file = Path(os.environ[STEPS]) if self.shown and STEPS in os.environ else None
        self.written = 0.0
        self.bar: RichProgress | None = None
        if self.shown and sys.stdout.isatty():
            self.bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=12),
                MofNCompleteColumn(),
                TextColumn("{task.fields[values]}"),
            )

    def __enter__(self) -> Progress:
        if self.shown:
            resumed = f", from step {self.done} on" if self.done else ""
            print(f"{self.name}: {self.steps:,} steps{resumed}", flush=True)
            if self.compiles and self.done < self.steps:
                print(f"{self.name}: compiling the network before the first step", flush=True)
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(self.name, total=self.steps, completed=self.done, values="")
        return self

    def advance(self, **values: float) -> None:
        self.done += 1
        now = time.monotonic()
        self.ends.append(now)
        left = self.seconds_left()
        shown = [f"{key} {value:.3f}" for key, value in values.items()]
        text = "  ".join([*shown, *([f"{duration(left)} left"] if left else [])])
        if self.bar:
            self.bar.update(self.task, completed=self.done, values=text)
        elif self.shown and (now - self.last_line >= LINE_SECONDS or self.done == self.steps):
            self.last_line = now
            print(f"{self.name} {self.done}/{self.steps}  {text}", flush=True)
        if self.file and len(self.ends) > 1 and now - self.written >= STEP_SECONDS:
            self.written = now
            seconds = statistics.median(after - before for before, after in pairwise(self.ends))
            self._write({"seconds": seconds})

    def _write(self, step: dict[str, float]) -> None:
        assert self.file is not None
        partial = self.file.with_suffix(".partial")
        with suppress(OSError):  # no training ends of it
            self.file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(step))
            partial.replace(self.file)

    def seconds_left(self) -> float | None:
        """Return how long the steps that are left take at the speed of the last ones; None before there are two."""
        if len(self.ends) < 2:
            return None
        return (self.steps - self.done) * (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.unlink(missing_ok=True)
        if self.bar:
            self.bar.stop()
        if self.shown and self.began_at < self.done == self.steps:
            took = duration(time.monotonic() - self.began)
            print(f"{self.name}: trained in {took}; saving and measuring it", flush=True)


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 7 min 30 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items. Meanwhile stderr has a bar named `what` if it is a terminal, else a line now and then."""
    console = Console(file=sys.stderr)
    if console.is_terminal:
        yield from track(items, what, total=total, console=console, transient=True)
        return
    total = len(items) if total is None and isinstance(items, Sized) else total
    last_line = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last_line >= LINE_SECONDS:
            last_line = time.monotonic()
            print(f"{what}: {done}" + (f" of {total}" if total else ""), file=sys.stderr, flush=True)
