"""The commands `jokbo scaling`: scaling laws fitted to anybody's runs, and what to train for a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jokbo.command import in_one_line
from jokbo.runtime.errors import InputError

TABLE = Path("scaling/table.json")  # what flows.scaling leaves
SAMPLES, SEED = 200, 1

scaling = typer.Typer(help="Scaling laws: fitted to runs, and what to train by them.", no_args_is_help=True)
Samples = Annotated[int, typer.Option(min=20, max=100_000, help="Resamples of the runs, for intervals.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same intervals.")]


@scaling.command()
@in_one_line
def fit(
    file: Annotated[
        Path, typer.Argument(help="A CSV file: parameters, tokens or flops, loss; docs/scaling.md.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="A folder for fit.json and the figures; none are written by default.")
    ] = None,
    samples: Samples = SAMPLES,
    seed: Seed = SEED,
) -> None:
    """Fit the laws of Kaplan et al. and Hoffmann et al. to the runs in a file, with intervals."""
    from jokbo.scaling import figures, results, runs

    found, ignored = runs.read(file)
    if ignored:
        print(f"columns that are not read: {', '.join(ignored)}")
    tree = results.fit_of(found, samples, seed, str(file))
    for line in results.told(tree, found):
        print(line)
    if out is not None:
        results.save(tree, out / results.FIT)
        for path in (out / results.FIT, *figures.save(figures.charts(tree, found), out)):
            print(path)


@scaling.command()
@in_one_line
def plan(
    source: Annotated[
        Path,
        typer.Argument(help="fit.json of `jokbo scaling fit`, a table of the sweep, or a CSV file of runs."),
    ] = TABLE,
    budget: Annotated[float, typer.Option(help="FLOPs, 6 N D: 1e15.")] = 0.0,
    samples: Samples = SAMPLES,
    seed: Seed = SEED,
) -> None:
    """Say how many parameters to train on how many tokens for a budget, and what loss to expect."""
    import math

    from jokbo.scaling import fit as fitting
    from jokbo.scaling import results, runs, tables

    if not (math.isfinite(budget) and budget > 0):
        raise InputError(f"--budget is {budget:g}: give the FLOPs to spend, such as --budget 1e15")
    if source.suffix == ".json":
        tree = results.load(source)
    else:
        tree = fitting.fitted(runs.read(source)[0], samples, seed, str(source))
    for line in tables.plan_lines(fitting.planned(tree, budget), budget):
        print(line)
