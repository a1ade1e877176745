"""`python -m jokbo.ui` shows what every run logged, in MLflow's own pages; `make ui` calls it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jokbo.runtime.files import in_one_line
from jokbo.runtime.mlflow_store import SERVERS, VARIABLE, connect, local_store, make_ready, sqlite_file
from jokbo.runtime.secrets import hidden

PORT = 5000
ADDRESS = f"http://127.0.0.1:{PORT}"
# how long a worker of MLflow's server may leave uvicorn without a sign of life; by default 5 s, in which a worker on a
# busy machine is not even loaded: it would be killed and begun again for ever
PATIENT = ("--uvicorn-opts", "--timeout-worker-healthcheck 300")
QUIET_AND_SAFE = {  # of MLflow's server; what the user has set stays
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes that a page does not need
    # no other name leads here: by one, a page of the web could read along. MLflow itself takes all private addresses
    "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{PORT},localhost:{PORT}",
    "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ADDRESS,
}


def main() -> None:
    """Serve the store to this machine alone, and print the link to its runs; or say where the server is."""
    with in_one_line():
        uri = local_store(Path(".jokbo"))
        if uri.startswith(SERVERS):
            print(f"The runs are at {hidden(uri)} ({VARIABLE})")
            return
        if file := sqlite_file(uri):
            make_ready(file)
        _, experiment = connect(uri)
    print(f"The runs: {ADDRESS}/#/experiments/{experiment}/runs?workflowType=machine_learning", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(PORT), *PATIENT]
    for name, value in QUIET_AND_SAFE.items():
        os.environ.setdefault(name, value)
    # not as an argument: any user of this machine can read those, and the password in them
    os.execve(sys.executable, command, {**os.environ, "MLFLOW_BACKEND_STORE_URI": uri})


if __name__ == "__main__":
    main()
