"""`python -m benchmarks.labelling`: how soon the page of `jokbo label` shows the next item, and whether it loses votes.

Three people label at once, by keys, each in a Chromium of their own, until each has answered every item. Meanwhile the
server is killed five times with SIGKILL, and started again. Then every vote that the page took is looked for in the
database, once and as it was given. `--client` takes programs without JavaScript in the place of browsers. `--read 0.5`
has each read for half a second before the key; without it three browsers and the server share the machine without rest.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from jokbo.labelling import store
from jokbo.preferences.batch import Batch, Item, Vote, batch_file
from tests.support import browser
from tests.support.labels import field as field_of
from tests.support.labels import patient, served

PEOPLE = ("ann", "bo", "cy")
KEYS = {"1": "first", "2": "second", "0": "tie", "9": "bad"}
WORDS = 120  # of an answer
ANSWER = """
new Promise((done) => {
  const item = () => document.querySelector("#vote")?.dataset.item || "";
  const before = item(), begun = performance.now(), problem = document.querySelector("#problem");
  problem.hidden = true;
  const watch = new MutationObserver(() => {
    const refused = problem.isConnected && !problem.hidden;
    if (item() === before && !refused) return;
    watch.disconnect();
    const shown = () => done([item(), refused ? null : performance.now() - begun]);
    requestAnimationFrame(() => setTimeout(shown));  // after it was drawn
  });
  watch.observe(document.documentElement, {childList: true, subtree: true, attributes: true});
  document.dispatchEvent(new KeyboardEvent("keydown", {key: "KEY", bubbles: true}));
})
"""


@dataclass
class Person:
    """One who labels: the items in the order in which they were shown, and the time to each next one."""

    name: str
    shown: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)  # of answers that were taken at once
    again: int = 0  # answers that had to be sent again, as the server was not there


def key_of(item: str) -> str:
    """Return what is answered to an item."""
    return list(KEYS)[int(item, 16) % len(KEYS)]


def by_browser(link: str, person: Person, read: float = 0.0) -> None:
    """Answer everything by keys in a browser, each item after so many seconds of reading."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        browser.browsing(Path(folder)) as page,
    ):
        page.screen(1400, 900)
        page.open(link)
        page.until("document.activeElement.name === 'name'")
        page.write(person.name)
        page.press("Enter")
        page.until("!!document.querySelector('#vote') && document.readyState === 'complete'")
        item = page.run("document.querySelector('#vote').dataset.item")
        while item:
            person.shown.append(item)
            time.sleep(read)
            following, took = page.run(ANSWER.replace("KEY", key_of(item)))
            if took is not None:
                person.milliseconds.append(took)
            while took is None:
                person.again += 1
                time.sleep(0.05)
                following, took = page.run(ANSWER.replace("KEY", key_of(item)))
            item = following


def by_client(link: str, person: Person) -> None:
    """Answer everything by forms, without JavaScript: the time is that of a whole page."""
    with httpx.Client(base_url=link.partition("/?")[0], follow_redirects=True, timeout=60) as client:
        page = patient(client, "GET", link).text
        page = patient(client, "POST", "/join", csrf=field_of(page, "csrf"), name=person.name, again="1").text
        while item := field_of(page, "item") if 'id="vote"' in page else "":
            person.shown.append(item)
            sent = {"csrf": field_of(page, "csrf"), "item": item, "choice": KEYS[key_of(item)]}
            begun = time.perf_counter()
            try:
                page = client.post("/vote", data=sent).text
                person.milliseconds.append(1000 * (time.perf_counter() - begun))
            except httpx.TransportError:
                person.again += 1
                page = patient(client, "POST", "/vote", **sent).text


def measure(items: int, kills: int, answer: Callable[[str, Person], None]) -> tuple[list[Person], list[Vote]]:
    """Return what each person met, and all votes of the database afterwards. The current folder is the project."""
    text = " ".join(f"word{i}" for i in range(WORDS))
    asked = [Item.of(f"{i}: {text}?", [f"yes {i} {text}", f"no {i} {text}"]) for i in range(items)]
    Batch("b" * 16, "film", len(PEOPLE), "", asked, 0, 0).save(batch_file("film"))
    people, failed = [Person(name) for name in PEOPLE], []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def label(link: str, person: Person) -> None:
        try:
            answer(link, person)
        except BaseException as error:
            failed.append(error)

    threads: list[Thread] = []
    for kill in range(kills + 1):
        with served(port) as (process, link):
            if not threads:
                threads = [Thread(target=label, args=(link, person), daemon=True) for person in people]
                for thread in threads:
                    thread.start()
            until = items * len(PEOPLE) * (kill + 1) // (kills + 1)
            while kill < kills and not failed and sum(len(each.shown) for each in people) < until:
                time.sleep(0.01)
            if kill < kills:
                os.kill(process.pid, signal.SIGKILL)
                continue
            for thread in threads:
                thread.join()
    if failed:
        raise failed[0]
    engine = store.open_store("sqlite:///.jokbo/labels/labels.db")
    votes = store.all_votes(engine, name="film")
    engine.dispose()
    return people, votes


def wrong(people: list[Person], votes: list[Vote]) -> list[str]:
    """Return what is wrong with the votes, a line each; nothing if nothing is."""
    taken = Counter((person.name, item) for person in people for item in person.shown)
    there = Counter((vote.labeller, vote.item) for vote in votes)
    counts = {
        "votes are lost": len(taken.keys() - there.keys()),
        "votes are there that nobody gave": len(there.keys() - taken.keys()),
        "votes are doubled": sum(count > 1 for count in there.values()),
        "items were given to one person twice": sum(count > 1 for count in taken.values()),
        "votes do not say what was chosen": sum(not _as_chosen(vote) for vote in votes),
    }
    return [f"{count:,} {what}" for what, count in counts.items() if count]


def _as_chosen(vote: Vote) -> bool:
    key = key_of(vote.item)
    if key in "09":
        return (vote.ranking, vote.both_bad) == ([[0, 1]], key == "9")
    best = vote.shown[key == "2"]
    return vote.ranking == [[best], [1 - best]]


def show(people: list[Person], kills: int) -> None:
    """Print how long the next item took."""
    table = Table("person", "labels", "median, ms", "95th percentile, ms", "sent again")
    every = [*people, Person("all")]
    every[-1].milliseconds = [each for person in people for each in person.milliseconds]
    every[-1].again = sum(person.again for person in people)
    for person in every:
        middle, high = np.percentile(person.milliseconds, [50, 95])
        count = len(person.milliseconds)
        table.add_row(person.name, f"{count:,}", f"{middle:.0f}", f"{high:.0f}", f"{person.again:,}")
    Console(width=100).print(table)
    print(f"{kills} kills of the server: no vote lost, none doubled, no item given to one person twice")


@contextmanager
def elsewhere() -> Iterator[None]:
    """Make an empty folder the current one."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.partition(":")[0])
    parser.add_argument("--labels", type=int, default=500, help="labels that each person gives in a row")
    parser.add_argument("--kills", type=int, default=5, help="how often the server is killed meanwhile")
    parser.add_argument("--client", action="store_true", help="programs without JavaScript, not browsers")
    parser.add_argument("--read", type=float, default=0.0, help="seconds before each key, in a browser")
    options = parser.parse_args()
    if not options.client and browser.PROGRAM is None:
        sys.exit("there is no Chromium: apt-get install chromium, or give --client")
    os.environ.pop("JOKBO_LABELS", None)
    with elsewhere():
        answering = by_client if options.client else partial(by_browser, read=options.read)
        found, stored = measure(options.labels, options.kills, answering)
    if faults := wrong(found, stored):
        sys.exit("\n".join(faults))
    show(found, options.kills)
