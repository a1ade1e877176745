"""The commands `jokbo team`: a DVC remote for data and models, a tracking server for runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jokbo.command import STATE, hand_over, in_one_line
from jokbo.runtime import mlflow_store
from jokbo.runtime.errors import InputError
from jokbo.runtime.secrets import hidden

team = typer.Typer(
    help="Share data and models by a DVC remote, and runs by an MLflow server.", no_args_is_help=True
)
# what the project's graph is needed for
OF_PROJECT = {
    "init": "Set the DVC remote and the tracking server of this project, or check those that are set.",
    "register": "Register a model in MLflow; the alias champion moves only if it is better beyond doubt.",
    "runs": "Show whose run made what stands in this project, stage by stage.",
}
for _name, _says in OF_PROJECT.items():
    hand_over(team, _name, "flows.project.team", _name, says=_says)


@team.command()
@in_one_line
def serve(
    folder: Annotated[
        Path, typer.Option(help="What it keeps: logins; and runs and artifacts, if they are nowhere else.")
    ] = STATE / "server",
    host: Annotated[
        str, typer.Option(help="Whom it listens to; by default this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    name: Annotated[
        list[str] | None, typer.Option(help="By which clients call it: HOST or HOST:PORT; may be repeated.")
    ] = None,
    artifacts: Annotated[
        str | None, typer.Option(help="A folder, or s3://BUCKET/PATH; by default in the folder.")
    ] = None,
) -> None:
    """Serve MLflow to a team, with logins. MLFLOW_BACKEND_STORE_URI may name a PostgreSQL database for the runs."""
    from jokbo.team.sharing import server

    server.serve(folder, server.Address(host, port, name or ()), artifacts)


@team.command()
@in_one_line
def login(name: Annotated[str, typer.Argument(help="Of the colleague.")]) -> None:
    """Give a colleague a login at the team's server; the password is typed, or the first line of standard input."""
    from jokbo.team.sharing import server

    uri = mlflow_store.local_store(STATE)
    if not uri.startswith(mlflow_store.SERVERS):
        raise InputError(
            f"{hidden(uri)} has no logins: set the team's server by `jokbo team init --tracking`"
        )
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    server.add_login(uri, name, password)
    print(f"{name} has a login at {hidden(uri)}")
