"""What the commands that run flows share: a server if there is something to do, one line for what goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from prefect import Flow
from prefect.states import State

from flows import graph
from flows.flow import BAD_INPUT, alone, summary
from flows.server import own_server, server
from jokbo import params
from jokbo.errors import InputError
from jokbo.files import refusal


def bring(until: str | None, run: Callable[[], State]) -> None:
    """Have `run` bring the pipeline (`until`: that stage and what it needs) up to date, if anything is stale.

    Exits 1 if a stage did not end, 2 for bad input.
    """
    try:
        params.load()
        with alone():
            needs, stale = graph.read(until)
        if not stale and not own_server():
            summary(dict.fromkeys(needs, "Cached"))
            print("Nothing to do, so no Prefect server was started.")
            return
        with server():
            outcome = run()
    except InputError as error:
        print(f"jokbo: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except Exception as error:
        if (line := refusal(error)) is None:
            raise
        print(f"jokbo: {line}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    if not outcome.is_completed():
        print(f"jokbo: {outcome.message}", file=sys.stderr)
        sys.exit(1)


def on_schedule(flow: Flow, cron: str, **parameters: Any) -> None:
    """Run the flow on a schedule, in this folder, for as long as this process lives."""
    if not own_server():
        print(
            "jokbo: a schedule needs a Prefect server: start one with `prefect server start`, set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api, and run this again",
            file=sys.stderr,
        )
        sys.exit(BAD_INPUT)
    flow.serve(
        name="local", cron=cron, parameters=parameters, limit=1, global_limit=1, pause_on_shutdown=False
    )
