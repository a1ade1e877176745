"""`jokbo label` as a process of its own, and people who answer all that its page asks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from jokbo.labelling import queue, store
from jokbo.labelling.queue import Answer, Queue
from jokbo.preferences.batch import published

ROOT = Path(__file__).parents[2]


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "jokbo.cli", "label", *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def served(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server and its link, once it answers."""
    process = subprocess.Popen(
        command("--port", str(port)),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield process, re.findall(r"http://\S+", said)[0]
    finally:
        process.kill()
        process.wait()


def patient(client: httpx.Client, method: str, address: str, **data: str) -> httpx.Response:
    """The answer to a request that is sent again until there is one, as a person does."""
    while True:
        try:
            return client.request(method, address, data=data or None)
        except httpx.TransportError:
            time.sleep(0.05)


def field(page: str, name: str) -> str:
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]


def label_all(link: str, name: str, stored: list[str]) -> None:
    """Answer everything there is, and keep what the server said it has stored."""
    with httpx.Client(base_url=link.partition("/?")[0], follow_redirects=True, timeout=60) as client:
        page = patient(client, "GET", link).text
        page = patient(client, "POST", "/join", csrf=field(page, "csrf"), name=name, again="1").text
        while item := field(page, "item") if 'id="vote"' in page else "":
            sent = {"csrf": field(page, "csrf"), "item": item, "choice": "first", "note": f"{name} {item}"}
            answer = patient(client, "POST", "/vote", **sent)
            assert answer.status_code == 200, answer.text
            stored.append(item)
            page = answer.text


def answer(folder: Path, people: Sequence[str], most: int = 10**9, name: str = "film") -> int:
    """Have people answer what a batch asks, without the page: each at most so many. Return how many answers came."""
    batch, came = published(name), 0
    assert batch is not None
    engine = store.open_store(f"sqlite:///{folder / '.jokbo/labels/labels.db'}")
    store.publish(engine, batch)
    given = Queue(engine, batch.id)
    for person in people:
        store.join(engine, person)
        for _ in range(most):
            if (place := queue.take(given, person)) is None:
                break
            queue.answer(given, person, place.item.id, Answer("judged", [[0], [1]]))
            came += 1
    engine.dispose()
    return came
