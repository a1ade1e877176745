"""`python -m flows.family` brings the family's table up to date; `... serve` does so on a schedule, such as nightly.

The family is an optional graph, family/dvc.yaml. What it needs of the chain is brought up to date first. Its networks
are small, so several of them train at once, each on its part of the cores.
"""

from __future__ import annotations

from typing import Annotated

import typer
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from flows.command import Plan, TimeoutHours, bring, one_line, show_plan
from flows.flow import pipeline, threads
from flows.schedule import SKIPPED, on_schedule, overtaken
from jokbo.runtime import kept
from jokbo.runtime.files import read_json
from jokbo.runtime.launcher import cores
from tasks.frame.paths import FAMILY, FAMILY_MODELS, FAMILY_TABLE, KEPT_TABLE, METRICS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="How many stages may run at once; by default one a core, or one on a GPU."),
]


@flow(name="family")
def family(workers: int | None = None, timeout_hours: float = 24.0) -> State:
    """Run the family's stages and those of the chain that they need, several at once, and keep the table's numbers.

    A system that fails stops no other one; then there is no table, and Failed names what did not end.
    """
    if late := overtaken():
        return Cancelled(name=SKIPPED, message=late)
    workers = workers or at_once()
    parallel = pipeline.with_options(task_runner=threads(workers))
    settings = {"OMP_NUM_THREADS": str(max(1, cores() // workers))}
    outcome = parallel(timeout_hours, None, settings, str(FAMILY), return_state=True)
    if not outcome.is_completed():
        return State(type=outcome.type, name=outcome.name, message=outcome.message)
    keep()
    return Completed()


def keep() -> None:
    """Put the numbers of the table where git sees them."""
    numbers = read_json(FAMILY / METRICS / "family_table.json", "run `make family`")
    kept.keep(FAMILY / KEPT_TABLE, numbers, FAMILY / FAMILY_MODELS)


def at_once() -> int:
    """Return how many stages run at once: as many as there are cores, but one where there is an accelerator."""
    import torch

    return 1 if torch.accelerator.is_available() else cores()


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    workers: Workers = None,
    timeout_hours: TimeoutHours = 24.0,
    plan: Plan = False,
) -> None:
    """Train every system of the family for the same budget, and compare them in one table."""
    if context.invoked_subcommand:
        return
    if plan:
        show_plan(folder=FAMILY)
        return
    bring(lambda: family(workers, timeout_hours, return_state=True), folder=FAMILY)
    with one_line():
        keep()  # also what `dvc repro` has made
        print((FAMILY / FAMILY_TABLE).read_text())


@app.command()
def serve(
    cron: Annotated[str, typer.Option(help="When to run, as in crontab: '0 2 * * *'.")],
    timezone: Annotated[str | None, typer.Option(help="By whose clock; by default this machine's.")] = None,
    workers: Workers = None,
) -> None:
    """Bring the table up to date on a schedule, in this folder, for as long as this command runs."""
    with one_line():
        on_schedule(family, cron, timezone, workers=workers)


if __name__ == "__main__":
    app()
