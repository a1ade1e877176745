"""The team's own server of MLflow: logins, hosts, and what of it stays secret."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.store.db import utils
from sqlalchemy import text

from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Subject, open_run
from jokbo.team.sharing import server
from tests.conftest import ROOT
from tests.support.tracker import answering, free_port

ADMIN = "the-admins-s3cret"
needs_logins = pytest.mark.skipif(
    server.find_spec("flask_wtf") is None, reason="MLflow's logins need Flask-WTF: pip install 'mlflow[auth]'"
)


@dataclass(frozen=True)
class Served:
    uri: str
    folder: Path
    process: subprocess.Popen


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`jokbo team serve`, as a user starts it."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    command = [
        sys.executable,
        "-m",
        "jokbo.cli",
        "team",
        "serve",
        "--folder",
        str(folder),
        "--port",
        str(port),
    ]
    environment = {**os.environ, "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN, "PYTHONPATH": str(ROOT)}
    with (
        open(folder / "log", "w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder) as process,
    ):
        uri = f"http://127.0.0.1:{port}"
        while not _answers(uri):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        children = psutil.Process(process.pid).children(recursive=True)
        yield Served(uri, folder, process)
        for one in (process, *children):
            one.kill()


def _answers(uri: str) -> bool:
    try:
        return httpx.get(f"{uri}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _never(*arguments: object) -> None:
    raise AssertionError("it was started, in the place of the tests")


@pytest.fixture
def as_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    _as(monkeypatch, "admin", ADMIN)


def _as(monkeypatch: pytest.MonkeyPatch, name: str, password: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)


@needs_logins
def test_it_asks_for_a_login_heeds_no_other_host_and_shows_no_secret(served: Served) -> None:
    asked = f"{served.uri}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(asked, trust_env=False).status_code == 401
    for host in ("evil.example", "192.168.1.5:5000"):
        assert httpx.get(asked, headers={"Host": host}, trust_env=False).status_code == 403
    process = psutil.Process(served.process.pid)
    listening = {
        connection.laddr.ip
        for one in (process, *process.children(recursive=True))
        for connection in one.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert ADMIN not in (served.folder / "log").read_text() + " ".join(process.cmdline())
    for file in served.folder.rglob("*"):
        if file.name != "log":
            assert not file.stat().st_mode & 0o077
            assert file.is_dir() or ADMIN.encode() not in file.read_bytes()


@needs_logins
def test_the_admin_gives_logins_with_which_two_people_write_and_read_runs(
    served: Served, as_admin: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.check(served.uri) == "answers, and takes runs of the login admin"
    server.add_login(served.uri, "ann", "anns-long-password")
    server.add_login(served.uri, "bob", "bobs-long-password")
    with pytest.raises(InputError, match=r"bob has no login: .* already exists\)?$"):
        server.add_login(served.uri, "bob", "bobs-long-password")
    with pytest.raises(InputError, match="the password has 5 characters"):
        server.add_login(served.uri, "eve", "short")
    _as(monkeypatch, "ann", "anns-long-password")
    with open_run(Subject("pretrain", "k", {}, {}), tracking_uri=served.uri, state=tmp_path / "ann") as first:
        first.text("hello", "samples.txt")
    with pytest.raises(InputError, match=r"eve has no login: this login may not do that"):
        server.add_login(served.uri, "eve", "eves-long-password")
    _as(monkeypatch, "bob", "bobs-long-password")
    assert server.check(served.uri) == "answers, and takes runs of the login bob"
    with open_run(
        Subject("pretrain", "k", {}, {}), tracking_uri=served.uri, state=tmp_path / "bob"
    ) as second:
        pass
    client = MlflowClient(served.uri)
    found = client.get_run(second.id)
    assert found.data.tags["mlflow.user"] == "bob"
    assert found.data.tags["jokbo.earlier"] == first.id
    assert client.get_run(first.id).data.tags["mlflow.user"] == "ann"
    assert [file.path for file in client.list_artifacts(first.id)] == ["environment.json", "samples.txt"]
    assert found.data.tags["mlflow.user"] == "bob"
    assert (served.folder / "artifacts").is_dir()
    _as(monkeypatch, "bob", "wrong")
    with pytest.raises(
        InputError, match="it wants a login, and does not know ours: set MLFLOW_TRACKING_USERNAME"
    ):
        server.check(served.uri)


@pytest.mark.parametrize("status", [404, 500])
def test_what_is_no_mlflow_is_one_line(status: int) -> None:
    with answering(status) as uri, pytest.raises(InputError) as error:
        server.check(uri)
    assert str(error.value).startswith(f"{uri}: ")
    assert "\n" not in str(error.value)


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(InputError, match=r"refused.*: is a server there\? `jokbo team serve` starts one$"):
        server.check(f"http://127.0.0.1:{free_port()}")


@needs_logins
def test_a_database_that_is_down_or_of_another_mlflow_is_one_line_without_its_password(
    postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN)
    monkeypatch.setattr(os, "execve", _never)
    down = f"postgresql+psycopg://me:s3cret-s3cret@127.0.0.1:{free_port()}/runs"
    own = postgresql.replace("://", "+psycopg://")
    with utils.create_sqlalchemy_engine(own).begin() as connection:
        connection.execute(text("CREATE TABLE runs (run_uuid VARCHAR(32))"))
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0a8213491aaa')"))
    for store, words in ((down, "refused"), (own, "Detected out-of-date database schema")):
        monkeypatch.setenv(server.STORE, store)
        with pytest.raises(InputError, match=words) as error:
            server.serve(tmp_path, server.Address("127.0.0.1", 5000))
        assert str(error.value).startswith(f"{server.STORE}=postgresql")
        assert "s3cret" not in str(error.value)
        assert "\n" not in str(error.value)


@needs_logins
@pytest.mark.parametrize(
    ("address", "artifacts", "words"),
    [
        (("0.0.0.0", 5000), None, "--host 0.0.0.0: name what clients call it by --name"),
        (
            ("127.0.0.1", 5000),
            "s3://key:s3cret@bucket/x",
            r"--artifacts s3://\*\*\*@bucket/x: there is a secret",
        ),
        (("127.0.0.1", 5000), None, "nobody has a login yet: set MLFLOW_AUTH_ADMIN_PASSWORD"),
    ],
)
def test_what_a_server_cannot_be_started_with_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: tuple, artifacts: str | None, words: str
) -> None:
    monkeypatch.delenv("MLFLOW_AUTH_ADMIN_PASSWORD", raising=False)
    monkeypatch.setattr(os, "execve", _never)
    with pytest.raises(InputError, match=words):
        server.serve(tmp_path / "new", server.Address(*address), artifacts)
    assert not (tmp_path / "new").exists()
