"""What a terminal shows of a flow: the time and a line, wrapped between words at its width, and nothing twice."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

from prefect.logging.handlers import PrefectConsoleHandler
from rich import box
from rich.console import Console
from rich.table import Table

from jokbo.evaluation.evaluation import Evaluation
from jokbo.reporting import headlines
from jokbo.runtime.progress import duration
from tasks.frame.paths import ALIGNED, EVALUATION, REPORT

# what Prefect says and the table at the end says better; the address is of a server that ends with us
NOISE = re.compile(r"Beginning flow run|View at http|Finished in state|Crash detected!")
WIDEST = 120


class Lines(logging.Formatter):
    """The time of day, then the message, as wide as the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return wrapped(
            f"{time.strftime('%H:%M:%S', self.converter(record.created))}  {super().format(record)}"
        )


def quiet() -> None:
    """Have Prefect's console show lines of ours, and not its own."""
    for handler in logging.root.handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.setFormatter(Lines())
            handler.addFilter(lambda record: not NOISE.match(record.getMessage()))


def wrapped(text: str, width: int | None = None) -> str:
    """Return the lines of the text, each broken between words at `width`, by default the terminal's."""
    width = width or columns()
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


def columns() -> int:
    """Return the width of the terminal, and no more than can be read."""
    return min(shutil.get_terminal_size().columns, WIDEST)


def summary(states: Mapping[str, str], seconds: Mapping[str, float]) -> None:
    """Print stage by stage how it ended, and what its last whole run took."""
    table = Table("stage", "state", "time", title="pipeline")
    for name, outcome in states.items():
        table.add_row(name, outcome.lower(), duration(seconds[name]) if name in seconds else "")
    Console(width=min(columns(), 90)).print(table)


def conclusion() -> None:
    """Print what came of the chain here, where its report is, and what to type next; nothing without a report."""
    file = EVALUATION / "evaluation.json"
    if not (file.is_file() and REPORT.is_file()):
        return
    evaluation = Evaluation.load(file)
    found = headlines.models(evaluation)
    shown = [index for index, name in enumerate(found.header) if "like length" not in name]  # 80 columns wide
    table = Table(*(found.header[index] for index in shown), box=box.SIMPLE_HEAD)
    for row in found.rows:
        table.add_row(*(row[index] for index in shown))
    console = Console(width=columns())
    console.print(headlines.verdict(evaluation), table, sep="\n", highlight=False)
    for what, command in (
        (f"Report: {REPORT}", "jokbo report"),
        ("Try it", f"jokbo chat {ALIGNED}"),
        ("Compare runs", "make ui"),
        ("Change it", "edit params.yaml, then make pipeline"),
    ):
        # never broken, however long the path: it is there to be copied
        console.print(f"{what:<30}{_typed(command)}", markup=False, highlight=False, soft_wrap=True)


def _typed(command: str) -> str:
    """Return a command as it can be typed here, also where the environment is not activated."""
    if not command.startswith("jokbo ") or shutil.which("jokbo"):
        return command
    there = Path(sys.executable).parent
    return f"{there.relative_to(Path.cwd()) if there.is_relative_to(Path.cwd()) else there}/{command}"
