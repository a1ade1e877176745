"""The team's tracking server: MLflow's own, with its logins; and whether one answers and knows ours."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import write_text
from jokbo.runtime.mlflow_store import (
    KIND,
    TRAINING,
    VARIABLE,
    check_driver,
    connect,
    make_ready,
    reason,
    sqlite_file,
)
from jokbo.runtime.secrets import hidden, hidden_of
from jokbo.ui import PATIENT

STORE = "MLFLOW_BACKEND_STORE_URI"  # in the environment alone: there may be a password in it
LOGINS = "logins.db"
# EDIT: whoever has a login may write what others began, and compare; only its owner and the admin may delete it
CONFIG = """[mlflow]
default_permission = EDIT
database_uri = sqlite:///{logins}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""
SHORTEST = 12  # of a password, as MLflow has it
LOGIN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or write ~/.mlflow/credentials"


@dataclass(frozen=True)
class Address:
    """Where a server listens, and the other names by which clients call it: HOST, or HOST:PORT."""

    host: str
    port: int
    names: Sequence[str] = ()


def serve(folder: Path, address: Address, artifacts: str | None = None) -> NoReturn:
    """Go on as MLflow's server with logins, in this process's place.

    Its store is MLFLOW_BACKEND_STORE_URI, else a sqlite file in the folder; its artifacts are there too, or at
    `artifacts`. Raises InputError for what it can't use.
    """
    if not find_spec("flask_wtf"):
        raise InputError("the server needs a package for its logins: pip install 'mlflow[auth]'")
    if address.host in ("0.0.0.0", "::") and not address.names:
        raise InputError(
            f"--host {address.host}: name what clients call it by --name, such as mlflow.example.org"
        )
    if artifacts and hidden(artifacts) != artifacts:
        raise InputError(
            f"--artifacts {hidden(artifacts)}: there is a secret in it, which every user of this machine could read: "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    environment = _environment(folder)
    hosts = [f"{name}:{address.port}" for name in dict.fromkeys((address.host, "127.0.0.1", "localhost"))]
    origins = [f"{scheme}://{name}" for name in [*hosts, *address.names] for scheme in ("http", "https")]
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "2"]
    command += [*PATIENT, "--host", address.host, "--port", str(address.port), "--x-frame-options", "DENY"]
    command += ["--artifacts-destination", artifacts or str(folder.absolute() / "artifacts")]
    command += ["--allowed-hosts", ",".join([*hosts, *address.names])]
    command += ["--cors-allowed-origins", ",".join(origins)]
    print(
        f"Runs: http://{address.host}:{address.port}; what it keeps is in {folder}; Ctrl-C ends it",
        flush=True,
    )
    os.execve(sys.executable, command, environment)


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of the server, with all that no command line may show. Makes its files in the folder."""
    logins, config, key = (folder.absolute() / name for name in (LOGINS, "logins.ini", "key"))
    password = os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD", "")
    if not logins.is_file() and len(password) < SHORTEST:
        raise InputError(
            f"{logins}: nobody has a login yet: set MLFLOW_AUTH_ADMIN_PASSWORD, of {SHORTEST} characters or more, for "
            "the first start: it makes the login admin"
        )
    store = os.environ.get(STORE) or f"sqlite:///{folder.absolute() / 'mlflow.db'}"
    file = sqlite_file(store)
    if not file:
        _check_database(store)
    os.umask(0o077)  # what the server keeps is its user's alone
    if file:
        make_ready(file)
    write_text(config, CONFIG.format(logins=logins))
    if not key.is_file():
        write_text(key, secrets.token_hex(32))
    own = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return own | {
        STORE: store,
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": key.read_text(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes that nothing here needs
    }


def _check_database(store: str) -> None:
    """Raise InputError for a database that does not answer, or that another version of MLflow made."""
    check_driver(store, STORE)
    from mlflow.store.db import utils

    utils.MAX_RETRY_COUNT = 1  # else it is asked for minutes
    try:
        engine = utils.create_sqlalchemy_engine(store)
        if not utils._is_empty_database(engine):
            utils._verify_schema(engine)
        engine.dispose()
    except Exception as error:  # whatever the driver and MLflow raise
        raise InputError(f"{STORE}={hidden(store)}: {hidden_of(store, reason(error))}") from error


def check(uri: str) -> str:
    """Return what is to be said of a server that answers, and lets us write. InputError if it does not."""
    try:
        client, experiment = connect(uri)
        client.set_experiment_tag(experiment, KIND, TRAINING)  # as it was: whoever may only read is refused
    except Exception as error:
        raise InputError(f"{hidden(uri)}: {_refused(error)}") from error
    from mlflow.utils.credentials import read_mlflow_creds

    login = read_mlflow_creds().username
    return f"answers, and takes runs{f' of the login {login}' if login else ' without a login'}"


def add_login(uri: str, name: str, password: str) -> None:
    """Give a colleague a login at the server. InputError if it refuses."""
    if len(password) < SHORTEST:
        raise InputError(f"the password has {len(password)} characters: it must have {SHORTEST} or more")
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    # not by mlflow.server.auth.client: what it imports is the server's
    endpoint, made = "/api/2.0/mlflow/users/create", {"username": name, "password": password}
    try:
        answer = http_request(get_default_host_creds(uri), endpoint, "POST", json=made)
        verify_rest_response(answer, endpoint)
    except Exception as error:
        raise InputError(f"{hidden(uri)}: {name} has no login: {_refused(error)}") from error


def _refused(error: Exception) -> str:
    """Return why a server refuses, and what to do, in a line."""
    status: Any = getattr(error, "get_http_status_code", lambda: None)()
    if status == 401:
        return f"it wants a login, and does not know ours: {LOGIN}"
    if status == 403:
        return "this login may not do that: ask the server's admin"
    why = reason(error).partition(". Error:")[0]
    return why if status and status < 500 else f"{why}: is a server there? `jokbo team serve` starts one"
