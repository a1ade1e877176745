"""`python -m flows.pipeline` brings everything in dvc.yaml up to date; `... serve` does so on a schedule.

`dvc repro` alone gives the same files.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from prefect.task_runners import ThreadPoolTaskRunner

from flows import graph
from flows.flow import BAD_INPUT, alone, pipeline, summary
from flows.server import own_server, server
from jokbo import params
from jokbo.errors import InputError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, help="How many stages may run at once.")] = 1,
    timeout_hours: Annotated[
        float, typer.Option(help="After how long a stage is stopped, and tried again once.")
    ] = 24.0,
    until: Annotated[
        str | None, typer.Option(help="A stage: bring it up to date, and what it needs, no more.")
    ] = None,
) -> None:
    """Bring everything in dvc.yaml up to date."""
    if context.invoked_subcommand:
        return
    try:
        params.load()
        with alone():
            needs, stale = graph.read(until)
        if not stale and not own_server():
            summary(dict.fromkeys(needs, "Cached"))
            print("Nothing to do, so no Prefect server was started.")
            return
        runner = ThreadPoolTaskRunner(max_workers=workers)
        with server():
            outcome = pipeline.with_options(task_runner=runner)(timeout_hours, until, return_state=True)
        if not outcome.is_completed():
            print(f"jokbo: {outcome.message}", file=sys.stderr)
            sys.exit(1)
    except InputError as error:
        print(f"jokbo: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


@app.command()
def serve(cron: Annotated[str, typer.Option(help="When to run, as in crontab: '0 3 * * *'.")]) -> None:
    """Run the pipeline on a schedule, in this folder, for as long as this command runs."""
    if not own_server():
        print(
            "jokbo: a schedule needs a Prefect server: start one with `prefect server start`, set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api, and run this again",
            file=sys.stderr,
        )
        sys.exit(BAD_INPUT)
    pipeline.serve(name="local", cron=cron, limit=1, global_limit=1, pause_on_shutdown=False)


if __name__ == "__main__":
    app()
