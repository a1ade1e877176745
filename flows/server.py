"""A Prefect server for a user who runs none: local, quiet, and gone with the process that asked for it.

Prefect's own ephemeral server outlives a flow that is killed, and complains on the terminal when it stops; this
one, `python -m flows.server PORT`, hangs on a lifeline, writes to a file, and is started again if it is killed.
"""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from prefect.client.base import ServerType
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_HOME,
    PREFECT_UI_URL,
    temporary_settings,
)

from jokbo.runtime.errors import InputError
from jokbo.runtime.interruption import LIFELINE, hold_lifeline
from jokbo.runtime.secrets import HIDDEN, hidden
from tasks.frame.paths import STATE

START_SECONDS = 600.0  # a busy machine takes minutes
STARTS = 4  # how often it is started in all: one that keeps ending has a reason
LOOK_SECONDS = 0.5
ANSWER_SECONDS = 10.0  # within which the user's own server has to answer
LOOPBACK = ["127.0.0.1", "localhost"]
OWN = {  # settings of a temporary server: no page, and no page of the web may read what it answers
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "http://127.0.0.1",
}
RETURN_SECONDS = 60.0  # for a server that is being started again


class NoServer(Exception):
    """Prefect's server is not there, or is no longer. The message is one line."""


def own_server() -> str | None:
    """Return the address of a server that the user has chosen, by environment or Prefect profile."""
    return PREFECT_API_URL.value()


def shown_address() -> dict[Any, str]:
    """Return Prefect's setting of the address that it prints: the user's server without name and password."""
    own = own_server()
    if not own or (PREFECT_UI_URL.value() and "@" not in PREFECT_UI_URL.value()):
        return {}
    return {PREFECT_UI_URL: hidden(own.removesuffix("/api")).replace(f"{HIDDEN}@", "")}


@contextmanager
def server() -> Iterator[None]:
    """Have Prefect talk to the user's server if there is one, else to a temporary one.

    Raises InputError if the user's address is none, and NoServer if no Prefect answers.
    """
    _quiet()
    if own := own_server():
        check(own)
        with temporary_settings(shown_address()):
            yield
        return
    home = Path(PREFECT_HOME.value())
    if home == (STATE / "prefect").resolve():  # the user's own is the user's to mend
        _mend(home / "prefect.db")
    log = home / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    port, done, started = _free_port(), threading.Event(), threading.Event()
    keeper = threading.Thread(target=_keep, args=(port, log, started, done), daemon=True)
    keeper.start()
    while keeper.is_alive() and not started.wait(LOOK_SECONDS):
        pass
    if not started.is_set():
        raise NoServer(f"Prefect's server did not start: see {log}")
    try:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
            yield
    finally:
        done.set()


def _keep(port: int, log: Path, started: threading.Event, done: threading.Event) -> None:
    """Have a server on the port until `done`: one that is killed is followed by another."""
    for attempt in range(STARTS):
        with log.open("a" if attempt else "w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.server", str(port)],
                env={**os.environ, **OWN, LIFELINE: ""},
                stdin=subprocess.PIPE,  # never closed here: what is logged last is sent when this process exits
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if not _answers(f"http://127.0.0.1:{port}/api/health", process):
            continue
        started.set()
        process.wait()
        if done.is_set():
            return
        print(f"jokbo: Prefect's server ended ({process.returncode}): starting it again", file=sys.stderr)


def _mend(database: Path) -> None:
    """Move Prefect's database aside if it is damaged: it holds the history of runs, which MLflow has too."""
    if not database.is_file():
        return
    try:
        with closing(sqlite3.connect(database)) as store:
            whole = store.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except sqlite3.OperationalError:
        return  # locked, or not to be opened: Prefect will say so
    except sqlite3.DatabaseError:
        whole = False
    if not whole:
        aside = database.with_name(f"{database.name}.damaged")
        database.replace(aside)
        for suffix in ("-wal", "-shm", "-journal"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        print(f"jokbo: {database} is damaged: it is kept as {aside.name}, a new one is made", file=sys.stderr)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(url: str, process: subprocess.Popen) -> bool:
    """Return whether the server comes to answer there; killed if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return True
        except httpx.TransportError:
            time.sleep(0.1)
    process.kill()
    return False


def check(url: str) -> None:
    """Raise InputError if this is no address, and NoServer if no Prefect answers there in some seconds."""
    shown = f"PREFECT_API_URL={hidden(url)}"
    settings: dict[Any, Any] = {
        PREFECT_API_URL: url,
        PREFECT_API_REQUEST_TIMEOUT: ANSWER_SECONDS,
        PREFECT_CLIENT_MAX_RETRIES: 0,
    }
    try:
        with temporary_settings(settings), get_client(sync_client=True) as client:
            if client.server_type == ServerType.CLOUD:
                problem = client.api_healthcheck()
                if problem:
                    raise problem
            else:
                client.api_version()
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError, TypeError) as error:
        raise InputError(f"{shown}: no Prefect there: an address is as http://127.0.0.1:4200/api") from error
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        locked = status in (401, 403)
        remedy = "set PREFECT_API_AUTH_STRING or PREFECT_API_KEY" if locked else "is that Prefect?"
        raise NoServer(f"{shown}: it answers {status}: {remedy}") from error
    except httpx.HTTPError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NoServer(f"{shown}: {hidden(reason)}: start that server, or unset PREFECT_API_URL") from error


def check_own_server(what: str) -> None:
    """Raise InputError if the user has chosen no server, which `what` needs, and NoServer if it does not answer."""
    url = own_server()
    if not url:
        raise InputError(
            f"{what} needs a Prefect server: start one with `prefect server start`, set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api, and run this again"
        )
    check(url)


def leave_if_gone() -> None:
    """End this process in one line where Prefect's server is gone, for there is nobody to tell how the flow ended:
    Prefect's client would try for minutes, and then show what it was at, many lines of it."""
    deadline = time.monotonic() + RETURN_SECONDS
    while url := own_server():
        try:
            return check(url)
        except (NoServer, InputError) as error:
            if time.monotonic() > deadline:
                sys.stdout.flush()
                print(f"jokbo: Prefect was not told how this ended: {error}", file=sys.stderr, flush=True)
                os._exit(1)
        time.sleep(LOOK_SECONDS)


def _quiet() -> None:
    """Keep to ourselves what Prefect's clients say of a server that is gone: leave_if_gone says it once."""
    logging.raiseExceptions = False  # what could not be logged to the server
    for name in ("prefect.events.clients", "prefect._internal.concurrency"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def serve(port: int) -> None:
    """Run Prefect's server, without its services, until whoever started this process is gone."""
    hold_lifeline()
    import uvicorn
    from prefect.server.api.server import create_app
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = create_app(final=True, webserver_only=True)
    # a page of the web that has its own name lead here would else have all that this server knows and does
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK)
    uvicorn.run(app, host="127.0.0.1", port=port, timeout_graceful_shutdown=5)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
