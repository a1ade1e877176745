"""Where MLflow keeps what was logged: which store, and a store that is whole, whoever was killed while it was made."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jokbo.runtime.errors import InputError
from jokbo.runtime.secrets import hidden

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "jokbo"
# a tag of an experiment: an MLflow whose page has no switch between conversations and training opens it at its runs
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
VARIABLE = "MLFLOW_TRACKING_URI"
SHARED = "team.yaml"  # in a project's root, and in git: where its team's runs are
SERVERS = ("http", "https")
DATABASES = ("postgresql", "mysql", "mssql")
_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///([^?]+)")
_CHECKED_BYTES = 2**25  # a database up to this size is read through before it is used


def local_store(folder: Path) -> str:
    """Return the tracking URI to use: the user's MLFLOW_TRACKING_URI, else the team's, else a sqlite file in `folder`,
    the project's .jokbo.

    A file's path is made absolute, since a stage may run in another folder (`dvc exp run --temp`). Raises
    InputError for a URI that MLflow can make nothing of.
    """
    uri = (
        os.environ.get(VARIABLE)
        or shared(folder.absolute().parent)
        or f"sqlite:///{folder.resolve() / 'mlflow.db'}"
    )
    scheme = uri.partition(":")[0].partition("+")[0] if "://" in uri else ""
    if scheme == "sqlite":
        file = _SQLITE.match(uri)
        if not file or file[1] == ":memory:":
            raise _unusable(uri, "names no file", "write sqlite:////absolute/path/mlflow.db")
        return uri.replace(file[1], str(folder.resolve().parent / file[1]), 1)
    if scheme in SERVERS:
        _check_address(uri)
    elif scheme in DATABASES:
        check_driver(uri)
    elif scheme not in _others():
        raise _unusable(
            uri, "is no store that MLflow knows", "write http://host:port or sqlite:////path/mlflow.db"
        )
    return uri


def shared(root: Path) -> str | None:
    """Return the address of the team's server, as the project's team.yaml has it; None if there is no such file."""
    file = root / SHARED
    if not file.is_file():
        return None
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe").load(file.read_text("utf-8"))
    except (YAMLError, ValueError) as error:
        raise InputError(f"{SHARED}: no YAML ({_first_line(error)}): `jokbo team init` writes it") from error
    if not isinstance(found, dict) or [*found] != ["tracking"]:
        raise InputError(f"{SHARED}: it must hold `tracking: http://host:port`, and nothing else")
    check_shared(uri := str(found["tracking"]), f"{SHARED}: tracking")
    return uri


def check_shared(uri: str, where: str) -> None:
    """Raise InputError unless it is a server's address that git may hold; `where` says where it was given."""
    if hidden(uri) != uri:
        raise InputError(
            f"{where} is {hidden(uri)}, with a secret in it, and git would hold it: leave it out, and set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if uri.partition("://")[0] not in SERVERS:
        raise InputError(f"{where} is {uri}: a team's runs are at a server: write http://host:port")
    try:
        _check_address(uri)
    except InputError:
        raise InputError(f"{where} is {uri}, which names no host and port: write http://host:port") from None


def connect(uri: str) -> tuple[MlflowClient, str]:
    """Return a client of the store, and the id of our experiment there: made, or restored if somebody deleted it.

    Raises whatever MLflow raises if the store does not answer.
    """
    file = sqlite_file(uri)
    if file:
        make_ready(file)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.store.db import utils

    logging.getLogger(utils.__name__).setLevel(logging.CRITICAL)  # what fails is told in a line of ours
    utils.MAX_RETRY_COUNT = 1  # else a database that is down holds a stage up for minutes
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        # left to itself, MLflow would write artifacts to the current folder
        location = (file.parent / "mlartifacts").as_uri() if file else None
        try:
            return client, client.create_experiment(EXPERIMENT, location, {KIND: TRAINING})
        except MlflowException:
            found = client.get_experiment_by_name(EXPERIMENT)  # another process was first
            if found is None:
                raise
    if KIND not in found.tags:
        client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
        say(f"MLflow's experiment {EXPERIMENT} had been deleted: it and its runs are restored")
    return client, found.experiment_id


def check_driver(uri: str, variable: str = VARIABLE) -> None:
    """Raise InputError for an address of a database that is none, or whose driver is not installed."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except (SQLAlchemyError, ValueError):
        remedy = "write dialect://user:password@host/name"
        raise _unusable(uri, "is no address of a database", remedy, variable) from None
    except ImportError as error:
        raise _unusable(uri, "needs a driver", f"pip install {error.name}", variable) from None


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a sqlite store; None for another store."""
    found = _SQLITE.match(uri)
    return Path(found[1]) if found else None


def make_ready(path: Path) -> None:
    """Have a whole sqlite store at `path`. One that is half made or damaged is moved aside, and that is said.

    A store is made beside its path and moved there when it is whole: MLflow takes seconds for it.
    """
    if fault(path) is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _making(path):
        found = fault(path)  # another stage may have made it meanwhile
        if found is None:
            return
        partial = path.with_name(f".{path.name}.partial")
        _remove(partial)
        earlier = _version(path) if found == "old" else None
        if earlier:
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as copy:
                source.backup(copy)
        try:
            _migrate(partial)
        except Exception as error:
            if not earlier:
                raise
            found = f"cannot be brought to this version of MLflow ({_first_line(error)})"
            _remove(partial)
            _migrate(partial)
        if path.exists():
            aside = _move_aside(path)
            what = "was made by an earlier MLflow: brought to this one's" if found == "old" else found
            say(
                f"{path}: {what}; it is kept as {aside.name}"
                + ("" if found == "old" else ", a new one is made")
            )
        os.replace(partial, path)


def say(text: str) -> None:
    """Print one line for the user, without passwords."""
    print(f"jokbo: {hidden(text)}", file=sys.stderr, flush=True)


def reason(error: BaseException) -> str:
    """Return why a store does not answer, in a line without passwords: the error at the bottom of those that were
    wrapped.
    """
    seen = {id(error)}
    while (below := error.__cause__ or error.__context__) and id(below) not in seen:
        error = below
        seen.add(id(error))
    return hidden(_first_line(error))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _unusable(uri: str, what: str, remedy: str, variable: str = VARIABLE) -> InputError:
    return InputError(f"{variable}={hidden(uri)} {what}: {remedy}, or unset it")


def _others() -> set[str]:
    """Return the schemes that MLflow and its plugins know besides; files only where the user insists on them."""
    files = {"", "file"} if os.environ.get("MLFLOW_ALLOW_FILE_STORE") == "true" else set()
    plugins = {plugin.name for plugin in entry_points(group="mlflow.tracking_store")}
    return {"databricks", "databricks-uc", "uc"} | plugins | files


def _check_address(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        if not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise _unusable(uri, "names no host and port", "write http://host:port") from None


def fault(path: Path) -> str | None:
    """Return what is wrong with the store at `path`: None for nothing, "old" for one to bring to this MLflow's version.

    Raises InputError for a store of a later MLflow.
    """
    if not path.is_file():
        return "is not there"
    size = path.stat().st_size
    if size == 0:
        return "is empty"
    try:
        with closing(sqlite3.connect(path, timeout=20)) as store:
            pages, page_bytes = (
                store.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
            )
            damaged = size < pages * page_bytes or (
                size <= _CHECKED_BYTES and store.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok"
            )
            if damaged:
                return "is damaged"
            tables = {
                name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            held = "runs" in tables and store.execute("SELECT count(*) FROM runs").fetchone()[0]
    except sqlite3.OperationalError:
        return None  # locked, or not ours to open: MLflow will say so
    except sqlite3.DatabaseError as error:
        return f"is damaged ({error})"
    return _fault_of_schema(path, tables, bool(held))


def _fault_of_schema(path: Path, tables: set[str], held: bool) -> str | None:
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils
    from mlflow.store.db.base_sql_model import Base

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    version = _version(path)
    if version == scripts.get_current_head() and set(Base.metadata.tables) <= tables:
        return None
    if version and version not in {script.revision for script in scripts.walk_revisions()}:
        raise InputError(
            f"{path} was made by a later MLflow (schema {version}): install that one, or move the file away"
        )
    return "old" if held and version else "is half made (whoever made it was stopped)"


def _version(path: Path) -> str | None:
    with closing(sqlite3.connect(path, timeout=20)) as store, suppress(sqlite3.OperationalError):
        return (store.execute("SELECT version_num FROM alembic_version").fetchone() or [None])[0]
    return None


def _migrate(path: Path) -> None:
    """Bring the database at `path`, which may be empty, to the schema of this MLflow: what `mlflow db upgrade` does."""
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    try:
        if utils._is_empty_database(engine):
            utils._initialize_tables(engine)
        else:
            utils._upgrade_db(engine)
    finally:
        engine.dispose()


@contextmanager
def _making(path: Path) -> Iterator[None]:
    """Hold the lock of whoever makes the store: ours, and the one under which MLflow's server makes it."""
    from mlflow.utils.file_utils import ExclusiveFileLock

    servers = hashlib.md5(f"sqlite:///{path}".encode(), usedforsecurity=False).hexdigest()
    with (
        ExclusiveFileLock(str(path.with_name(f".{path.name}.lock"))),
        ExclusiveFileLock(f"{tempfile.gettempdir()}/db_init_lock-{servers}"),
    ):
        yield


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    for suffix in ("", "-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    return aside


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
