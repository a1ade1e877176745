"""A real database in a file, with a batch of items that people compare, and the page over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from jokbo.labelling import store
from jokbo.labelling.queue import Queue
from jokbo.labelling.server import Desk, application
from jokbo.preferences.batch import Batch, Item, Vote

TOKEN = "the token of the link"


def pair(number: int, text: str = "") -> Item:
    return Item.of(f"Question {number}?", [f"yes {number}{text}", f"no {number}"])


def batch(items: Sequence[Item], labels: int = 2, instructions: str = "") -> Batch:
    return Batch("b" * 16, "film", labels, instructions, list(items), 0, 0)


def votes(page: Page) -> list[Vote]:
    """All votes of the page's batch."""
    return store.all_votes(page.queue.engine, batch=page.queue.batch)


class Clock:
    """A clock that stands until it is set on."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Page:
    """The page of a batch, and what it is made of."""

    queue: Queue
    clock: Clock
    desk: Desk

    def visitor(self, name: str | None = "ann", token: str = TOKEN) -> Visitor:
        client = TestClient(application(self.desk), follow_redirects=True)
        found = Visitor(client)
        found.get(f"/?token={token}")
        if name is not None:
            found.send("/join", name=name)
        return found


@dataclass
class Visitor:
    """Somebody's browser without JavaScript: it looks at pages and sends their forms."""

    client: TestClient
    status: int = 0
    text: str = ""

    def get(self, address: str, **headers: str) -> str:
        return self._shown(self.client.get(address, headers=headers))

    def send(self, address: str, headers: dict[str, str] | None = None, **fields: str) -> str:
        """Send a form with the CSRF token of the page on screen."""
        data = {"csrf": self.field("csrf"), **fields}
        return self._shown(self.client.post(address, data=data, headers=headers))

    def vote(self, choice: str, **more: str) -> str:
        return self.send("/vote", **{"item": self.field("item"), "choice": choice, **more})

    def field(self, name: str) -> str:
        """The value of a hidden field of the page on screen."""
        return self.text.partition(f'name="{name}" value="')[2].partition('"')[0]

    def _shown(self, response) -> str:
        self.status, self.text = response.status_code, response.text or self.text
        return self.text


@pytest.fixture
def page(tmp_path: Path) -> Callable[[Batch], Page]:
    def made(given: Batch) -> Page:
        engine = store.open_store(f"sqlite:///{tmp_path / 'labels.db'}")
        store.publish(engine, given)
        clock = Clock()
        queue = Queue(engine, given.id, timeout=60.0, clock=clock)
        return Page(queue, clock, Desk(given, queue, TOKEN, "a secret of the sessions"))

    return made
