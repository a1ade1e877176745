"""`python -m benchmarks.seeds 1 2 3` runs the chain once for each seed, and prints its figures as ranges over seeds.

The run of seed N is a project of its own, .jokbo/seeds/N: this one's code and parameters, with N as the seed of
every stage from `prompts` on. All share the DVC cache, so the data are prepared once. A run that was stopped goes on.
`--last` prints what is there and runs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.command import one_line
from flows.profile import lay_out
from flows.supervise import follow
from jokbo import params
from jokbo.runtime import tracking
from jokbo.runtime.tracking import flat
from tasks.frame.paths import METRICS, STATE
from tasks.frame.stage import state

DATA = ("fetch", "prepare", "tokenize")  # the same for every seed
FOLDER = STATE / "seeds"  # a project a seed
SHOWN = ("pretrain", "tasks", "finetune", "distill", "reward", "align", "evaluate")


def run(seed: int) -> None:
    """Bring the project of this seed up to date."""
    own = params.read(Path("params.yaml"))
    for name, section in own.items():
        if name not in DATA and isinstance(section, dict) and "seed" in section:
            section["seed"] = seed
    bring_up(_folder(seed), own)


def bring_up(folder: Path, own: dict[str, Any], until: str | None = None) -> None:
    """Run the chain, up to a stage or all of it, in a project of this one's code with parameters of its own."""
    with one_line():
        lay_out(folder, own)
    store = {"MLFLOW_TRACKING_URI": tracking.local_store(state().resolve())}
    command = [sys.executable, "-m", "flows.pipeline", *(["--until", until] if until else [])]
    environment = {**os.environ, **store}
    status = follow(command, environment, lambda line: print(line, flush=True), lambda: False, folder)
    if status:
        sys.exit(status)


def figures(seed: int) -> dict[str, Any]:
    """Return every number that the stages of this seed's run wrote: stage.name -> value."""
    read = {stage: json.loads((_folder(seed) / METRICS / f"{stage}.json").read_text()) for stage in SHOWN}
    return {name: value for name, value in flat(read).items() if isinstance(value, int | float)}


def show(seeds: list[int]) -> None:
    """Print each figure of every seed, and the least and the largest."""
    found = [figures(seed) for seed in seeds]
    table = Table("figure", *(f"seed {seed}" for seed in seeds), "least", "largest")
    for name in found[0]:
        values = [each[name] for each in found if name in each]
        table.add_row(name, *(f"{value:.4g}" for value in [*values, min(values), max(values)]))
    Console(width=130).print(table)


def _folder(seed: int) -> Path:
    return FOLDER / str(seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--last", action="store_true", help="print what is there")
    options = parser.parse_args()
    if not options.last:
        for number in options.seeds:
            run(number)
    show(options.seeds)
