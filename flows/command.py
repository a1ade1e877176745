"""What the commands that run flows share: a server if there is something to do, one line for what goes wrong."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer
from prefect import tags
from prefect.client.schemas.objects import State

from flows import graph, planned, terminal
from flows.flow import BAD_INPUT_STATE, WAITING_STATE, alone, seconds_of
from flows.schedule import SKIPPED
from flows.server import NoServer, own_server, server
from jokbo import params
from jokbo.runtime import tracking
from jokbo.runtime.errors import BAD_INPUT, WAITING
from jokbo.runtime.files import in_one_line
from jokbo.runtime.interruption import STOPPED, hold_lifeline
from jokbo.runtime.secrets import hidden
from tasks.frame import checks, projects
from tasks.frame.paths import STATE


def bring(run: Callable[[], State], until: str | None = None, folder: Path = Path()) -> None:
    """Have `run` bring the folder's project (`until`: that stage and what it needs) up to date, if anything is stale.

    Exits 1 if a stage did not end, 2 for bad input, 75 if a stage waits for people.
    """
    hold_lifeline()
    with one_line():
        chain, settings = params.load(), projects.load(folder)
        store = tracking.local_store(STATE)  # one line for a tracking URI that is wrong
        with alone():
            found = graph.read(until, folder)
        for asking in (chain, settings):
            checks.check(asking, found.stale, found.stale)
        if not found.stale and not own_server():
            terminal.summary(dict.fromkeys(found.needs, "Cached"), seconds_of(found.needs))
            print("Nothing to do, so no Prefect server was started.")
            tracking.send_left(store, STATE)
        else:
            with server(), tags(*_tags(folder, until)):
                terminal.quiet()
                end(run())
        if "report" in found.needs and projects.root(folder) == folder:
            terminal.conclusion()


def _tags(folder: Path, until: str | None) -> list[str]:
    """Return what runs in Prefect are found by: whose graph it is, and how far it goes."""
    return [folder.name or "chain", *([f"until {until}"] if until else [])]


def above_zero(hours: float) -> float:
    """Return the option, if it is a time that a stage can take: as typer's callback."""
    if not hours > 0:
        raise typer.BadParameter(f"{hours:g} is not above 0")
    return hours


TimeoutHours = Annotated[
    float, typer.Option(callback=above_zero, help="After how long a stage is stopped, and tried again once.")
]
Until = Annotated[str | None, typer.Option(help="A stage: bring it up to date, and what it needs, no more.")]

Plan = Annotated[
    bool, typer.Option("--plan", help="Say what would run, why, and what it would take; start nothing.")
]


def show_plan(until: str | None = None, folder: Path = Path()) -> None:
    """Print what `bring` would do. Exits 2 for bad input."""
    with one_line():
        projects.load(folder)
        planned.show(params.load(), until, folder)


def end(outcome: State) -> None:
    """Exit in one line if the flow did not complete: 2 if it was given what it can't use, 75 if it waits for people,
    else 1."""
    if not outcome.is_completed():
        print(f"jokbo: {outcome.message}", file=sys.stderr)
        statuses = {BAD_INPUT_STATE: BAD_INPUT, SKIPPED: BAD_INPUT, WAITING_STATE: WAITING}
        sys.exit(statuses.get(outcome.name or "", 1))


@contextmanager
def one_line() -> Iterator[None]:
    """Exit in one line: 2 for bad input, 1 where Prefect's server is not there, or no longer, 130 for Ctrl-C."""
    try:
        with in_one_line():
            yield
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except NoServer as error:
        print(f"jokbo: {error}", file=sys.stderr)
        sys.exit(1)
    except httpx.HTTPError as error:
        print(f"jokbo: Prefect's server is gone: {hidden(str(error))}: run this again", file=sys.stderr)
        sys.exit(1)
