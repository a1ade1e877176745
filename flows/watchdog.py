"""Whether a training hangs: it does no step for many times as long as its steps take.

The stage writes down its steps (jokbo/runtime/progress.py) where STEPS in its environment says. Before there are two
steps, and between trainings, nothing tells a hang from work: there a stage has its time limit alone.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from jokbo.runtime.files import read_if_there
from jokbo.runtime.progress import duration

TIMES = 50  # of the median step
LEAST = "JOKBO_HUNG_SECONDS"  # in the environment: less is no hang, for checkpoints and measuring lie between steps
LEAST_SECONDS = 600.0


class Watch:
    """What has been seen of one attempt at a stage."""

    def __init__(self, file: Path) -> None:
        file.unlink(missing_ok=True)  # of a training that was killed
        self._file, self._seen = file, 0
        self._since = time.monotonic()  # does not go on while the machine sleeps
        self._least = float(os.environ.get(LEAST) or LEAST_SECONDS)

    def hung(self) -> str | None:
        """Return how long no step was done, and how long one takes, if that is a hang; else None."""
        if not (step := read_if_there(self._file)):
            return None
        if (changed := self._file.stat().st_mtime_ns) != self._seen:
            self._seen, self._since = changed, time.monotonic()
        still = time.monotonic() - self._since
        if still <= max(self._least, TIMES * step["seconds"]):
            return None
        return f"it did no step for {duration(still)}, where one takes {step['seconds']:.2g} s"
