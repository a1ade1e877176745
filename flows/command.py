"""What the commands that run flows share: a server if there is something to do, one line for what goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from prefect import Flow
from prefect.states import State

from flows import graph
from flows.flow import BAD_INPUT, alone, summary
from flows.server import NoServer, own_server, server
from jokbo import params, tracking
from jokbo.errors import InputError
from tasks import asked
from tasks.paths import STATE


def bring(until: str | None, run: Callable[[], State]) -> None:
    """Have `run` bring the pipeline (`until`: that stage and what it needs) up to date, if anything is stale.

    Exits 1 if a stage did not end, 2 for bad input.
    """
    try:
        settings = params.load()
        tracking.local_store(STATE)  # one line for a tracking URI that is wrong
        with alone():
            needs, stale = graph.read(until)
        asked.check(settings, stale, stale)
        if not stale and not own_server():
            summary(dict.fromkeys(needs, "Cached"))
            print("Nothing to do, so no Prefect server was started.")
            return
        with server():
            outcome = run()
    except InputError as error:
        print(f"jokbo: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except NoServer as error:
        print(f"jokbo: {error}", file=sys.stderr)
        sys.exit(1)
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
