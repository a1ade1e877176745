"""`python -m jokbo.ui` shows what every run logged, in MLflow's own pages; `make ui` calls it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import refusal
from jokbo.runtime.mlflow_store import SERVERS, VARIABLE, local_store, make_ready, sqlite_file
from jokbo.runtime.secrets import hidden


def main() -> None:
    """Serve the store at http://127.0.0.1:5000, for this machine alone, or say where its server is."""
    try:
        uri = local_store(Path(".jokbo"))
        if uri.startswith(SERVERS):
            print(f"The runs are at {hidden(uri)} ({VARIABLE})")
            return
        if file := sqlite_file(uri):
            make_ready(file)
    except Exception as error:
        line = str(error) if isinstance(error, InputError) else refusal(error)
        if line is None:
            raise
        print(f"jokbo: {line}", file=sys.stderr)
        sys.exit(2)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1"]
    os.environ.setdefault(
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"
    )  # seven processes that a page does not need
    # not as an argument: any user of this machine can read those, and the password in them
    os.execve(sys.executable, command, {**os.environ, "MLFLOW_BACKEND_STORE_URI": uri})


if __name__ == "__main__":
    main()
