"""`python -m benchmarks.gpu` measures what this machine's accelerator gives, in at most 8 minutes.

The default run may not come to its end in these: `--only chain killed --seconds 900` measures it by itself.

Each part is a process of its own with its own limit in seconds. One that fails, or takes too long, is said to, with its
error, and the next begins. What was found is printed, and written as docs/results/gpu.md after each part; what the
parts said is in .jokbo/benchmarks/gpu. `--small` does all of it at a tiny size: whether it runs, not how fast.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.gpu.sheet import FOLDER, Sheet, gigabytes
from jokbo.reporting import markdown
from jokbo.runtime import environment
from jokbo.runtime.files import in_one_line, write_text
from tasks.frame import stage

PAGE = Path("docs/results/gpu.md")
LOOK_SECONDS, GRACE_SECONDS, LEAST_SECONDS = 0.2, 10.0, 20.0
COMPILED = FOLDER / "compiled"  # made anew each time, as on a machine that has never run this
CHAIN, TRAINING = "benchmarks.gpu.chain", "benchmarks.gpu.training"


@dataclass(frozen=True)
class Part:
    """One thing that is measured: what measures it, and how long that may take."""

    name: str
    title: str
    module: str
    function: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """How a part ended."""

    sheet: Sheet
    seconds: float
    memory: float  # bytes: the most that was taken while it ran
    error: str  # empty: none


# what is short and certain comes first: the default run alone may take the time of all others together
PARTS = (
    Part("trainer", "GPT, 124M parameters: transformers' Trainer", TRAINING, "trainer", 130),
    Part("engine", "GPT, 124M parameters: the engine", TRAINING, "jokbo", 240),
    Part("room", "The same GPT, with less in the accelerator's memory", TRAINING, "room", 160),
    Part("ppo", "PPO", "benchmarks.gpu.ppo", "measure", 100),
    Part("chain", "The default run", CHAIN, "run", 600),
    Part("killed", "Killed with SIGKILL, and gone on with", CHAIN, "killed", 120),
)
LEGEND = """Seconds of a stage are those of its own work, without the start of its process. Peak memory below a table is
what the machine's accelerator had taken meanwhile (on a CPU: what the processes held), in a table what tensors took.
The share of the peak counts six operations a parameter and token, and those of attention. The engine makes the same
bits each time, where its row does not say otherwise."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a tiny size: whether all of it runs")
    parser.add_argument("--seconds", type=float, default=480.0, help="most seconds of all parts")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], help="these parts alone")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # how a part's process is started
    options = parser.parse_args()
    if options.part:
        (part,) = (each for each in PARTS if each.name == options.part)
        sheet = Sheet(part.name)
        sheet.save()
        with in_one_line():
            getattr(import_module(part.module), part.function)(sheet, options.small)
        return
    shutil.rmtree(COMPILED, ignore_errors=True)
    ends, outcomes = time.monotonic() + options.seconds, {}
    for part in PARTS:
        if not options.only or part.name in options.only:
            outcomes[part] = outcome = measured(part, ends - time.monotonic(), options.small)
            show(part, outcome)
            write_text(PAGE, page(outcomes, options.small))
    print(f"{PAGE} is written")
    sys.exit(any(outcome.error for outcome in outcomes.values()))


def measured(part: Part, left: float, small: bool) -> Outcome:
    """Run a part in a process of its own, for as long as it may take, and return how it ended."""
    if left < LEAST_SECONDS:
        return Outcome(Sheet(part.name), 0.0, 0.0, "not begun: no time was left")
    FOLDER.mkdir(parents=True, exist_ok=True)
    Sheet(part.name).save()
    limit, log, began = (
        left if small else min(part.seconds, left),
        FOLDER / f"{part.name}.log",
        time.monotonic(),
    )
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", part.name, *(["--small"] if small else [])]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(COMPILED.resolve())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    before, most = taken(process.pid), 0.0
    while process.poll() is None and time.monotonic() - began < limit:
        most = max(most, taken(process.pid) - before)
        time.sleep(LOOK_SECONDS)
    error = ended(process, limit, log)
    return Outcome(Sheet.read(part.name), time.monotonic() - began, most, error)


def ended(process: subprocess.Popen[bytes], limit: float, log: Path) -> str:
    """Stop the part's process if it still runs; return its error, empty if there is none."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return f"stopped after {limit:.0f} s, which it may take"
    if not process.returncode:
        return ""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"ended with {process.returncode}: {lines[-1].strip() if lines else log}"


def taken(process: int) -> float:
    """Return the bytes that are taken of the GPU; without one, those that a process and what it started hold."""
    if torch.cuda.is_available():
        free, there = torch.cuda.mem_get_info()
        return there - free
    held = 0.0
    try:
        for each in (one := psutil.Process(process), *one.children(recursive=True)):
            held += each.memory_info().rss
    except psutil.Error:  # it has just ended
        pass
    return held


def below(outcome: Outcome) -> list[str]:
    """Return the sentences below a part's table."""
    cost = f"{outcome.seconds:.0f} s; peak memory {gigabytes(outcome.memory)} GB."
    return [*([f"FAILED: {outcome.error}"] if outcome.error else []), *outcome.sheet.notes, cost]


def show(part: Part, outcome: Outcome) -> None:
    table = Table(*outcome.sheet.header, title=part.title)
    for row in outcome.sheet.rows:
        table.add_row(*row)
    Console(width=120).print(table, *below(outcome), sep="\n", highlight=False, markup=False)


def page(outcomes: dict[Part, Outcome], small: bool) -> str:
    """Return what was found as markdown."""
    commit = stage.commit(stage.version()) or "no git"
    made_in = environment.summary(environment.collect())
    lines = [
        "# On an accelerator",
        "Written by `python -m benchmarks.gpu`, not by hand.",
        f"{time.strftime('%Y-%m-%d')}, commit: {commit}. {made_in}.",
        *(
            ["At a tiny size (`--small`): these figures say that it runs, and nothing of speed."]
            if small
            else []
        ),
    ]
    for part, outcome in outcomes.items():
        lines += [
            f"## {part.title}",
            markdown.table(outcome.sheet.header, outcome.sheet.rows, 1),
            *below(outcome),
        ]
    return "\n\n".join([*lines, LEGEND]) + "\n"


if __name__ == "__main__":
    main()
