"""`python -m flows.seeds 1 2 3` runs the chain once for each seed, and prints the mean of each figure and its interval.

The run of seed N is a project of its own, .jokbo/seeds/N: this one's code and parameters, with N as the seed of
every stage from `prompts` on. All share the DVC cache, so the data are prepared once. In MLflow they stand below one
run, which has the table. A command that was stopped goes on. `--last` prints what is there and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import t

from flows.command import one_line
from flows.profile import bring_up, check_until, lay_out
from jokbo import params
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import flat
from tasks.frame.paths import METRICS, STATE
from tasks.frame.stage import PARENT_RUN, state, version

DATA = ("fetch", "prepare", "tokenize")  # the same for every seed
FOLDER = STATE / "seeds"  # a project a seed
SHOWN = ("pretrain", "tasks", "finetune", "distill", "reward", "align", "evaluate")
LEVEL = 0.95

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Estimate(NamedTuple):
    """The mean of a figure over seeds, and half the width of its 95% interval; None where one seed tells none."""

    mean: float
    half: float | None

    def __str__(self) -> str:
        return f"{self.mean:.4g}" + ("" if self.half is None else f" ± {self.half:.2g}")


@app.command()
def main(
    seeds: Annotated[list[int], typer.Argument(min=0, help="One or several.")],
    until: Annotated[
        str | None, typer.Option(help="Last stage to run, from pretrain on; all if none.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Print what is there, and run nothing.")] = False,
) -> None:
    """Run the chain once for each seed; print each figure, its mean and the 95% interval of that."""
    with one_line():
        check_until(until)
        if len({*seeds}) < len(seeds):
            raise InputError(f"{' '.join(map(str, seeds))}: a seed stands there twice: leave it out")
        if not last:
            _run(seeds, until)
        found = {seed: figures(seed) for seed in seeds}
    show(found)


def _run(seeds: Sequence[int], until: str | None) -> None:
    """Bring the project of each seed up to date, below one run of MLflow, which gets the table."""
    own = params.read(Path("params.yaml"))
    name = f"seeds {', '.join(map(str, seeds))}"
    note = f"The chain with the {name}, a run each below this one. seeds.json has every figure, mean and interval."
    tags = {"stage": "seeds", **version(), "mlflow.runName": name, "mlflow.note.content": note}
    key = hashlib.sha256(json.dumps([own, seeds, until], sort_keys=True).encode()).hexdigest()
    of = tracking.Subject("seeds", key, own, tags)
    with tracking.open_run(
        of, tracking_uri=tracking.local_store(state()), resumed=True, state=state()
    ) as parent:
        for seed in seeds:
            lay_out(folder_of(seed), seeded(own, seed))
            bring_up(folder_of(seed), until, {PARENT_RUN: parent.id} if parent.id else {})
        found = {seed: figures(seed) for seed in seeds}
        means = estimates(found)
        parent.log({f"mean/{figure}": estimate.mean for figure, estimate in means.items()})
        parent.log({f"half/{figure}": each.half for figure, each in means.items() if each.half is not None})
        parent.table(_rows(found), "seeds.json")


def seeded(own: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return parameters with this seed in every section from `prompts` on."""
    return {
        name: {**section, "seed": seed}
        if name not in DATA and isinstance(section, dict) and "seed" in section
        else section
        for name, section in own.items()
    }


def figures(seed: int) -> dict[str, float]:
    """Return each number that stages of this seed's run wrote: stage.name -> value. InputError if none is there."""
    files = {stage: folder_of(seed) / METRICS / f"{stage}.json" for stage in SHOWN}
    read = {stage: json.loads(file.read_text("utf-8")) for stage, file in files.items() if file.is_file()}
    if not read:
        raise InputError(f"{folder_of(seed)}: nothing has run there: leave --last out")
    return {name: float(value) for name, value in flat(read).items() if isinstance(value, int | float)}


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of a figure over seeds and half of its interval, by Student's t."""
    count = len(values)
    half = float(t.ppf((1 + LEVEL) / 2, count - 1)) * stdev(values) / sqrt(count) if count > 1 else None
    return Estimate(mean(values), half)


def estimates(found: Mapping[int, Mapping[str, float]]) -> dict[str, Estimate]:
    """Return the estimate of each figure that every seed has."""
    first, *others = found.values()
    return {
        name: estimate([own[name] for own in found.values()])
        for name in first
        if all(name in other for other in others)
    }


def show(found: Mapping[int, Mapping[str, float]]) -> None:
    """Print each figure of every seed, the mean, and how far from it the 95% interval reaches."""
    rows = _rows(found)
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else f"{value:.4g}" for value in row.values()))
    Console(width=130).print(table)


def _rows(found: Mapping[int, Mapping[str, float]]) -> list[dict[str, Any]]:
    return [
        {
            "figure": name,
            **{f"seed {seed}": own[name] for seed, own in found.items()},
            f"mean, {LEVEL:.0%} interval": str(each),
        }
        for name, each in estimates(found).items()
    ]


def folder_of(seed: int) -> Path:
    """Return the project of a seed."""
    return FOLDER / str(seed)


if __name__ == "__main__":
    app()
