"""The same laws on SQLite and on a real PostgreSQL, of Debian's package."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from jokbo.labelling import queue, store
from jokbo.labelling.queue import Answer, Queue
from jokbo.preferences.batch import Item, standing
from tests.labelling.conftest import batch, pair

PEOPLE = ["ann", "bo", "cy"]
ITEMS = 12
YES = Answer("judged", [[0], [1]])
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
INITDB = shutil.which("initdb") or (str(PROGRAMS[-1]) if PROGRAMS else None)


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of this test's own, which listens to a socket in its folder alone."""
    if INITDB is None:
        pytest.skip("there is no PostgreSQL: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="there is no psycopg: pip install 'jokbo[postgresql]'")
    folder = Path("/tmp") / f"jokbo-postgresql-{os.getpid()}"  # the path of a socket must be short
    folder.mkdir()
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "postgres"
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data, programs = folder / "data", Path(INITDB).parent
    try:
        made = [INITDB, "-D", str(data), "-U", "labels", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        subprocess.run(made, user=user, check=True, capture_output=True, cwd=folder)
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
        subprocess.run(
            [*control, "-o", options, "start"], user=user, check=True, capture_output=True, cwd=folder
        )
        try:
            yield f"postgresql://labels@/postgres?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], user=user, check=True, cwd=folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        found: str = request.getfixturevalue("postgresql")
        store.tables.drop_all(store.open_store(found))
        return found
    return f"sqlite:///{tmp_path / 'labels.db'}"


def opened(url: str, items: list[Item], labels: int) -> Queue:
    engine = store.open_store(url)
    store.publish(engine, batch(items, labels))
    for name in PEOPLE:
        store.join(engine, name)
    return Queue(engine, "b" * 16)


def test_people_at_once_never_get_more_labels_than_asked_for(url: str) -> None:
    """Three servers over one database: threads that all take and answer at once, each with an engine of its own."""
    opened(url, [pair(i) for i in range(ITEMS)], labels=2)
    given = {name: Queue(store.open_store(url), "b" * 16) for name in PEOPLE}

    def work(name: str) -> None:
        while found := queue.take(given[name], name):
            assert queue.answer(given[name], name, found.item.id, YES) == "stored"

    threads = [Thread(target=work, args=(name,)) for name in PEOPLE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in PEOPLE:  # what somebody held while another ended
        work(name)
    votes = store.all_votes(given["ann"].engine, batch="b" * 16)
    assert Counter(Counter(vote.item for vote in votes).values()) == {2: ITEMS}
    assert len({(vote.item, vote.labeller) for vote in votes}) == len(votes)
    assert [vote.number for vote in votes] == sorted({vote.number for vote in votes})
    assert queue.progress(given["ann"]).missing == 0


def test_any_character_is_kept_and_nothing_is_overwritten(url: str) -> None:
    texts = ["\x00 one \u202e", "\ud800 two 나 \U0001f469"]
    given = opened(url, [Item.of("\x00?", texts)], labels=1)
    place = queue.take(given, "ann")
    assert place is not None
    assert (
        queue.answer(given, "ann", place.item.id, Answer("judged", [[1], [0]], note="\x00 \ud800"))
        == "stored"
    )
    (last,) = queue.recent(given, "ann")
    assert queue.answer(given, "ann", place.item.id, YES, replaces=last.number) == "stored"
    assert queue.withdraw(given, "ann", place.item.id) == "stored"
    votes = store.all_votes(given.engine, name="film")
    assert [(vote.action, vote.note) for vote in votes] == [
        ("judged", "\x00 \ud800"),
        ("judged", ""),
        ("withdrawn", ""),
    ]
    assert votes[0].responses == texts
    assert standing(votes) == []
    assert not store.join(given.engine, "ann")


def test_it_is_published_again_without_a_change(url: str) -> None:
    given = opened(url, [pair(1)], labels=1)
    store.publish(given.engine, batch([pair(1), pair(2)], labels=3))
    assert queue.progress(given).needed == 6
