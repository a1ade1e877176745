"""The server as a process of its own: killed in the middle of votes, stopped, and started wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path
from threading import Thread

import httpx
import pytest

from jokbo.labelling import store
from jokbo.preferences.batch import batch_file, read_votes, votes_file
from tests.labelling.conftest import batch, pair
from tests.support.labels import command, environment, field, label_all, served

PEOPLE = ["ann", "bo", "cy"]
ITEMS, KILLS = 30, 3


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a published batch, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOKBO_LABELS", raising=False)
    batch([pair(i) for i in range(ITEMS)], labels=len(PEOPLE)).save(batch_file("film"))
    return tmp_path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def count(project: Path) -> int:
    engine = store.open_store(f"sqlite:///{project / '.jokbo/labels/labels.db'}")
    try:
        return len(store.all_votes(engine, name="film"))
    finally:
        engine.dispose()


def test_killed_in_the_middle_of_votes_none_is_lost_and_none_is_doubled(project: Path) -> None:
    port, stored = free_port(), {name: [] for name in PEOPLE}
    threads = []
    for kill in range(KILLS + 1):
        with served(port) as (process, link):
            if not threads:
                threads = [Thread(target=label_all, args=(link, *each)) for each in stored.items()]
                for thread in threads:
                    thread.start()
            if kill < KILLS:
                while count(project) < (kill + 1) * ITEMS * len(PEOPLE) // (KILLS + 1):
                    assert process.poll() is None
                os.kill(process.pid, signal.SIGKILL)
                continue
            for thread in threads:
                thread.join()
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate()
            assert process.returncode == 0, said
    wanted = {(name, item) for name in PEOPLE for item in stored[name]}
    assert len(wanted) == ITEMS * len(PEOPLE)
    votes = read_votes(votes_file("film"))
    found = Counter((vote.labeller, vote.item) for vote in votes)
    assert set(found) == wanted, "a vote is lost"
    assert set(found.values()) == {1}, "a vote is doubled"
    assert all(vote.note == f"{vote.labeller} {vote.item}" for vote in votes)
    assert f"{len(wanted)} of {len(wanted)} labels are in: `make pipeline` goes on" in said


def test_stopped_by_sigterm_it_writes_the_votes(project: Path) -> None:
    with served(free_port()) as (process, link):
        with httpx.Client(base_url=link.partition("/?")[0], follow_redirects=True) as client:
            page = client.get(link).text
            page = client.post("/join", data={"csrf": field(page, "csrf"), "name": "ann"}).text
            sent = {"csrf": field(page, "csrf"), "item": field(page, "item"), "choice": "tie"}
            assert client.post("/vote", data=sent).status_code == 200
        process.terminate()
        process.wait()
    assert [vote.ranking for vote in read_votes(votes_file("film"))] == [[[0, 1]]]


def test_files_that_hold_secrets_are_the_owners_alone(project: Path) -> None:
    with served(free_port()):
        for name in ("link", "sessions"):
            assert (project / ".jokbo/labels" / name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "TAKEN"], "Address already in use"),
        (["--name", "nosuch"], "nosuch/batch.json: not there: there is film"),
        (["--database", "sqlite:////proc/1/nosuch/x.db"], "/proc/1"),
        (
            ["--database", "postgresql://me:secret@127.0.0.1:1/x"],
            "the database postgresql://***@127.0.0.1:1/x cannot",
        ),
        (["--name", "film", "agreement"], "--name: put it behind agreement"),
        (["compare"], "data/evaluation/samples.jsonl: not there: run the stage evaluate"),
    ],
)
def test_what_is_wrong_is_one_line(project: Path, options: list[str], message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = str(listening.getsockname()[1])
        given = [taken if option == "TAKEN" else option for option in options]
        result = subprocess.run(command(*given), env=environment(), capture_output=True, text=True)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr


def test_without_a_batch_it_says_what_makes_one(project: Path) -> None:
    batch_file("film").unlink()
    result = subprocess.run(command(), env=environment(), capture_output=True, text=True)
    assert result.returncode == 2
    assert "nothing is asked of people: add a labeller of kind people" in result.stderr


def test_export_and_agreement(project: Path) -> None:
    engine = store.open_store(f"sqlite:///{project / '.jokbo/labels/labels.db'}")
    engine.dispose()
    for options, said in (
        (
            ["agreement"],
            "0 of 90 labels are in: 90 are missing\nKrippendorff's alpha is undefined: no item has been",
        ),
        (["export"], "no vote is in yet"),
        (["export", "--out", "exports"], "0 votes: exports/votes.jsonl"),
    ):
        result = subprocess.run(command(*options), env=environment(), capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(said)
