"""The option of commands that read people's votes."""

from __future__ import annotations

from typing import Annotated

import typer

DATABASE = (
    "JOKBO_LABELS"  # in the environment: so no password stands on a command line, or among a run's parameters
)
Database = Annotated[
    str | None,
    typer.Option(envvar=DATABASE, help="URL of the votes' database; .jokbo/labels/labels.db by default."),
]
