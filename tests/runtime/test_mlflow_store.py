"""MLflow's own store is whole or not there, whoever is killed while it is made; nothing that was in it is deleted."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from mlflow import MlflowClient

from jokbo.runtime import mlflow_store
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import EXPERIMENT, Subject, open_run
from tests.conftest import ROOT, until

RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts in the background ignore it
from pathlib import Path
from jokbo.runtime.tracking import Subject, local_store, open_run
state = Path(sys.argv[1])
with open_run(Subject("pretrain", sys.argv[2], {}, {}), tracking_uri=local_store(state), state=state) as run:
    pass
"""


def _start(state: Path, key: str = "k") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(state), key]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _runs(path: Path) -> list[str]:
    client = MlflowClient(f"sqlite:///{path}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


@pytest.fixture
def path(pristine: Path, tmp_path: Path) -> Path:
    """A whole store with one run in it."""
    path = tmp_path / ".jokbo" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(pristine / ".jokbo" / "mlflow.db", path)
    with _open(path):
        pass
    return path


def _open(path: Path, key: str = "k1"):
    uri = f"sqlite:///{path}"
    return open_run(Subject("pretrain", key, {}, {}), tracking_uri=uri, state=path.parent)


@pytest.mark.parametrize(("signaled", "tables"), [(signal.SIGKILL, 1), (signal.SIGINT, 30)])
def test_killed_while_the_store_is_made(tmp_path: Path, signaled: signal.Signals, tables: int) -> None:
    state = next(state for number in count() if _killed(state := tmp_path / str(number), signaled, tables))
    assert not (state / "mlflow.db").exists()
    again = _start(state)
    output, _ = again.communicate()
    assert (again.returncode, output) == (0, "")
    assert _runs(state / "mlflow.db") == ["FINISHED"]


def _killed(state: Path, signaled: signal.Signals, tables: int) -> bool:
    """Start a run and send it the signal when its store has so many tables; False if it had ended before that."""
    process = _start(state)
    until(lambda: _tables(state / ".mlflow.db.partial") >= tables or process.poll() is not None)
    process.send_signal(signaled)
    process.communicate()
    return process.returncode != 0


def _tables(path: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            return store.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_two_stages_that_start_at_once_make_one_store(tmp_path: Path) -> None:
    both = [_start(tmp_path / ".jokbo", key) for key in ("k1", "k2")]
    for process in both:
        output, _ = process.communicate()
        assert (process.returncode, output) == (0, "")
    assert _runs(tmp_path / ".jokbo/mlflow.db") == ["FINISHED", "FINISHED"]


def _half_made(path: Path) -> None:
    """As MLflow leaves it that is killed in the middle of its migrations: tables, no run, an early version."""
    with closing(sqlite3.connect(path)) as store:
        store.execute("DELETE FROM tags")
        store.execute("DELETE FROM runs")
        store.execute("DROP TABLE spans")
        store.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        store.commit()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (_cut, "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "is damaged"),
        (lambda path: path.write_text("not a database at all" * 1000), "is damaged"),
        (_half_made, "is half made"),
    ],
)
def test_a_store_that_cannot_be_used_is_moved_aside_and_said(
    path: Path, break_it, said: str, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    project = tmp_path / "another" / ".jokbo"  # MLflow keeps what it knows of a path for as long as it lives
    project.mkdir(parents=True)
    path = shutil.copy(path, project / "mlflow.db")
    break_it(path)
    broken = path.read_bytes()
    with _open(path):
        pass
    printed = capfd.readouterr().err
    assert printed.startswith(f"jokbo: {path}: {said}")
    assert printed.count("\n") == 1
    assert _runs(path) == ["FINISHED"]
    assert (project / "mlflow.db.aside-1").read_bytes() == broken


def test_a_store_of_an_earlier_mlflow_keeps_its_runs(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    from mlflow.store.db import utils

    store = path.parent / "old.db"
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{store}")
    utils.InitialBase.metadata.create_all(engine)
    engine.dispose()
    with closing(sqlite3.connect(store)) as old:
        version = "SELECT version_num FROM alembic_version"
        upgrade = _to("cfd24bdc0731", store)
        subprocess.run([sys.executable, "-c", upgrade], check=True, capture_output=True)
        assert old.execute(version).fetchone() == ("cfd24bdc0731",)
        old.execute("INSERT INTO experiments VALUES (1, 'jokbo', 'file:///tmp/x', 'active')")
        columns = "run_uuid, name, source_type, source_name, user_id, status, start_time, lifecycle_stage, artifact_uri"
        values = "'a', 'old', 'LOCAL', '', 'me', 'FINISHED', 1, 'active', 'file:///tmp/x'"
        old.execute(f"INSERT INTO runs (experiment_id, {columns}) VALUES (1, {values})")
        old.commit()
    with _open(store):
        pass
    printed = capfd.readouterr().err
    assert "was made by an earlier MLflow" in printed, printed
    assert printed.count("\n") == 1, printed
    client = MlflowClient(f"sqlite:///{store}")
    assert {run.info.run_name for run in client.search_runs(["1"])} == {"old", "pretrain"}


def _to(version: str, path: Path) -> str:
    return f"""
from alembic import command
from mlflow.store.db import utils
engine = utils.create_sqlalchemy_engine("sqlite:///{path}")
config = utils._get_alembic_config("sqlite:///{path}")
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, "{version}")
"""


def test_a_store_of_a_later_mlflow_is_left_alone(path: Path, capfd: pytest.CaptureFixture) -> None:
    with closing(sqlite3.connect(path)) as store:
        store.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        store.commit()
    before = path.read_bytes()
    with pytest.raises(InputError, match="later MLflow"):
        mlflow_store.make_ready(path)
    with _open(path):  # the training goes on
        pass
    assert "later MLflow" in capfd.readouterr().err
    assert path.read_bytes() == before


def test_a_store_in_use_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        mlflow_store.make_ready(path)
    assert not list(path.parent.glob("*aside*"))


def test_a_whole_store_is_not_made_again(path: Path) -> None:
    mlflow_store.make_ready(path)
    before = path.stat()
    mlflow_store.make_ready(path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "uri",
    [
        "htp://me:s3cret@host:5000",
        "localhost:5000",
        "http://",
        "http://host:port",
        "sqlite://",
        "sqlite:///:memory:",
        "./mlruns",
        "postgresql://me:s3cret@host/runs",  # its driver is not installed
        "mysql+nosuch://me:s3cret@host/runs",
    ],
)
def test_a_uri_that_mlflow_can_make_nothing_of(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(mlflow_store.VARIABLE, uri)
    with pytest.raises(InputError) as error:
        mlflow_store.local_store(tmp_path)
    assert str(error.value).startswith("MLFLOW_TRACKING_URI=")
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_relative_file_is_the_projects_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mlflow_store.VARIABLE, "sqlite:///shared/mlflow.db")
    assert mlflow_store.local_store(tmp_path / ".jokbo") == f"sqlite:///{tmp_path}/shared/mlflow.db"
    monkeypatch.setenv(mlflow_store.VARIABLE, "sqlite:////elsewhere/mlflow.db")
    assert mlflow_store.local_store(tmp_path / ".jokbo") == "sqlite:////elsewhere/mlflow.db"
    monkeypatch.setenv(mlflow_store.VARIABLE, "https://me:pass@tracker.example/path")
    assert mlflow_store.local_store(tmp_path) == "https://me:pass@tracker.example/path"


def test_the_teams_server_is_used_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(mlflow_store.VARIABLE, raising=False)
    state = tmp_path / ".jokbo"
    assert mlflow_store.local_store(state) == f"sqlite:///{state}/mlflow.db"
    (tmp_path / "team.yaml").write_text("tracking: http://tracker.example:5000\n")
    assert mlflow_store.local_store(state) == "http://tracker.example:5000"
    monkeypatch.setenv(mlflow_store.VARIABLE, "http://other.example:5000")
    assert mlflow_store.local_store(state) == "http://other.example:5000"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tracking: http://me:s3cret@host:5000\n", "tracking is http://\\*\\*\\*@host:5000, with a secret"),
        ("tracking: /runs\n", "a team's runs are at a server"),
        ("tracking: http://host\nother: 1\n", "it must hold `tracking: http://host:port`, and nothing else"),
        ("tracking: [\n", "no YAML"),
        ("", "it must hold"),
    ],
)
def test_what_is_wrong_in_the_teams_file_is_one_line(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(mlflow_store.VARIABLE, raising=False)
    (tmp_path / "team.yaml").write_text(text)
    with pytest.raises(InputError, match=f"^team.yaml: .*{words}") as error:
        mlflow_store.local_store(tmp_path / ".jokbo")
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)
