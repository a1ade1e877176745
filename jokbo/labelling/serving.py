"""`jokbo label`: the page of a batch, served until somebody stops it, and the votes, written where the stage reads."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from jokbo.labelling import agreement, queue, store
from jokbo.labelling.queue import Queue
from jokbo.labelling.server import Desk, application
from jokbo.preferences.batch import LABELS, Batch, Vote, batch_file, published, votes_file, write_votes
from jokbo.preferences.forms.form import lines
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import write_text

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
        finished=lambda: _say(_written(engine, batch)),
    )
    app = application(desk)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _say(_progress(given))
        _say(f"the page of {batch.name}: http://{_named(address.host)}:{port}/?token={desk.token}")
        if address.host not in LOOPBACK:
            _say("others can reach it, and read along on the way: put it behind a server with TLS")
        _say("Ctrl-C ends it; every answer is on disk when the next item is shown")
        yield
        _say(_written(engine, batch))
        _say(_progress(given))

    app.router.lifespan_context = lifespan
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, server_header=False
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises again what ended it
        uvicorn.Server(config).run(sockets=[listening])


def export(batch: Batch, engine: Engine, out: Path | None) -> list[str]:
    """Write all votes where the stage reads them, or into a folder. Return lines that say what was written."""
    store.publish(engine, batch)
    if out is None:
        return [_written(engine, batch)]
    found = store.all_votes(engine, name=batch.name)
    path = out / "votes.jsonl"
    written = [f"{write_votes(found, path):,} votes: {path}"]
    if better := [vote for vote in agreement.standing(found) if vote.better]:
        path = out / "demonstrations.jsonl"
        rows = (
            {"prompt": vote.prompt, "response": vote.better, "labeller": vote.labeller} for vote in better
        )
        write_text(path, lines(rows))
        written.append(f"{len(better):,} answers that people wrote: {path}")
    return written


def agreed(batch: Batch, engine: Engine) -> list[str]:
    """Return lines on how far people agree in a batch, and each with the others."""
    store.publish(engine, batch)
    found = store.all_votes(engine, batch=batch.id)
    gold = {item.id: item.ranking for item in batch.items if item.ranking is not None}
    said = [_progress(Queue(engine, batch.id)), str(agreement.alpha(found))]
    for person in agreement.people(found, gold):
        line = f"{person.name}: {person.labels:,} labels, {person.skipped:,} of them skipped"
        if person.compared:
            share = f"{person.same / person.compared:.0%} of {person.compared:,} comparisons"
            line += f"; says the same as others in {share}"
        if person.gold:
            line += f"; right in {person.right:,} of {person.gold:,} gold items"
        said.append(line)
    return said


def _written(engine: Engine, batch: Batch) -> str:
    found: Sequence[Vote] = store.all_votes(engine, name=batch.name)
    path = votes_file(batch.name)
    if not found and not path.exists():
        return "no vote is in yet"
    return f"{write_votes(found, path):,} votes are in {path}, where the stage preferences reads them"


def _progress(given: Queue) -> str:
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
