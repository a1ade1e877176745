"""`python -m flows.pipeline` brings the pipeline of dvc.yaml up to date; `... serve` does so on a schedule.

`dvc repro` gives the same files.
"""

from __future__ import annotations

from typing import Annotated

import typer

from flows.command import Plan, TimeoutHours, Until, bring, one_line, show_plan
from flows.flow import pipeline, threads
from flows.schedule import on_schedule

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, help="How many stages may run at once.")] = 1,
    timeout_hours: TimeoutHours = 24.0,
    until: Until = None,
    plan: Plan = False,
) -> None:
    """Bring the pipeline of dvc.yaml up to date."""
    if context.invoked_subcommand:
        return
    if plan:
        show_plan(until)
        return
    parallel = pipeline.with_options(task_runner=threads(workers))
    bring(lambda: parallel(timeout_hours, until, return_state=True), until)


@app.command()
def serve(
    cron: Annotated[str, typer.Option(help="When to run, as in crontab: '0 3 * * *'.")],
    timezone: Annotated[str | None, typer.Option(help="By whose clock; by default this machine's.")] = None,
) -> None:
    """Run the pipeline on a schedule, in this folder, for as long as this command runs."""
    with one_line():
        on_schedule(pipeline, cron, timezone)


if __name__ == "__main__":
    app()
