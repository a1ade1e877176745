"""`jokbo label`: the page of a batch, served until somebody stops it, and the votes, written where the stage reads."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from jokbo.labelling import queue, store
from jokbo.labelling.queue import Queue
from jokbo.labelling.server import Desk, application
from jokbo.preferences.batch import (
    LABELS,
    Batch,
    Vote,
    batch_file,
    published,
    read_votes,
    row_of,
    votes_file,
    write_votes,
)
from jokbo.runtime.errors import InputError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SECRET_BYTES = 32


@dataclass(frozen=True)
class Address:
    host: str
    port: int


def batch_of(name: str | None) -> Batch:
    """Return the batch of a labeller, or the only one that is published. InputError if there is none, or no one."""
    names = sorted(path.parent.name for path in LABELS.glob("*/batch.json"))
    if not names:
        raise InputError(
            f"{LABELS}: nothing is asked of people: add a labeller of kind people to preferences.labellers, and run "
            "the stage preferences"
        )
    if name is None and len(names) > 1:
        raise InputError(f"{LABELS} holds {', '.join(names)}: name one of them")
    if name is not None and name not in names:
        raise InputError(f"{batch_file(name)}: not there: there is {', '.join(names)}")
    found = published(name or names[0])
    assert found is not None
    return found


def database(url: str | None, state: Path) -> str:
    """Return the URL of the database: the one that is given, or a file of the project."""
    return url or f"sqlite:///{state / 'labels' / 'labels.db'}"


def serve(batch: Batch, engine: Engine, address: Address, state: Path, minutes: float) -> None:
    """Serve the page until Ctrl-C, or SIGTERM. Votes are in the database all along, and at the end in a file too."""
    store.publish(engine, batch)
    given = Queue(engine, batch.id, timeout=60 * minutes)
    listening = _listen(address)
    port = listening.getsockname()[1]
    desk = Desk(
        batch,
        given,
        token=_secret(state / "labels" / "link"),
        secret=_secret(state / "labels" / "sessions"),
        cookie=f"jokbo_label_{port}",  # a browser sends cookies to all ports of a host
        finished=lambda: _say(hand_over(batch.name, engine)),
    )
    app = application(desk)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _say(progress_of(given))
        _say(f"the page of {batch.name}: http://{_named(address.host)}:{port}/?token={desk.token}")
        if address.host not in LOOPBACK:
            _say("others can reach it, and read along on the way: put it behind a server with TLS")
        _say("Ctrl-C ends it; every answer is on disk when the next item is shown")
        yield
        _say(hand_over(batch.name, engine))
        _say(progress_of(given))

    app.router.lifespan_context = lifespan
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, server_header=False
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises again what ended it
        uvicorn.Server(config).run(sockets=[listening])


def votes_of(name: str, engine: Engine) -> list[Vote]:
    """Return all votes of a labeller in the database; where it has none, those in the file that the stage reads."""
    return store.all_votes(engine, name=name) or read_votes(votes_file(name))


def hand_over(name: str, engine: Engine) -> str:
    """Write the votes of the database where the stage reads them. Return a line that says so."""
    found, path = store.all_votes(engine, name=name), votes_file(name)
    if not found:
        return "no vote is in yet"
    aside = _set_aside(path, found)
    said = f"{write_votes(found, path):,} votes are in {path}, where the stage preferences reads them"
    return f"{said}; there were others, of another database: they are kept as {aside}" if aside else said


def _set_aside(path: Path, found: Sequence[Vote]) -> Path | None:
    """Keep a file of votes beside itself if it holds one that was not found, as where the database is a new one."""
    if not path.exists() or set(path.read_bytes().splitlines()) <= set(map(row_of, found)):
        return None
    aside = next(
        file for number in count(1) if not (file := path.with_name(f"votes-{number}.jsonl")).exists()
    )
    path.rename(aside)
    return aside


def progress_of(given: Queue) -> str:
    """Return a line on how many labels are in."""
    found = queue.progress(given)
    left = f"{found.missing:,} are missing" if found.missing else "`make pipeline` goes on"
    return f"{found.given:,} of {found.needed:,} labels are in: {left}"


def _listen(address: Address) -> socket.socket:
    try:
        return socket.create_server((address.host, address.port), family=_family(address.host))
    except OSError as error:
        where = f"{address.host}:{address.port}"
        raise InputError(f"{where}: {error.strerror or error}: give another --host or --port") from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _secret(path: Path) -> str:
    """Return what a file holds, chosen by chance the first time. So links and sessions outlive the server."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(SECRET_BYTES))
    except FileExistsError:
        pass
    if len(found := path.read_text().strip()) < SECRET_BYTES:
        raise InputError(f"{path}: not whole: remove it, and a new link is made")
    return found


def _say(line: str) -> None:
    print(f"jokbo: {line}", flush=True)
