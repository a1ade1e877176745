"""`python -m flows.project.team` has the commands of `jokbo team` that look at the project's graph.

`init` sets where a team shares what this project makes, `runs` says whose it is, and `register` puts a model into
MLflow's registry.

Data and models go to a DVC remote, which stands in .dvc/config of the project and of its optional graphs; runs go to an
MLflow server, which stands in team.yaml. Git holds these files, so no secret may stand in them. Each is tried before
it is written.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from dvc.config import Config, ConfigError
from dvc.exceptions import DvcException
from dvc.repo import Repo
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import graph, seeds
from jokbo.command import in_one_line
from jokbo.evaluation.evaluation import Evaluation
from jokbo.runtime.errors import InputError, line_of
from jokbo.runtime.files import write_text
from jokbo.runtime.mlflow_store import (
    SHARED,
    VARIABLE,
    check_shared,
    connect,
    local_store,
    reason,
    shared,
)
from jokbo.runtime.owner import HOST, PERSON
from jokbo.runtime.secrets import hidden
from jokbo.runtime.tracking import find_run
from jokbo.team.comparing.estimates import over_seeds
from jokbo.team.sharing import registry, server
from tasks.frame import projects
from tasks.frame.identity import committed
from tasks.frame.paths import EVALUATION, STATE

NAME = "team"  # of the remote, where the project has none
# what DVC takes in its settings, and git must not hold
SECRET = {
    *("access_key_id", "secret_access_key", "session_token", "sse_customer_key"),  # S3
    *("password", "passphrase", "token"),  # SSH, WebDAV
    *("sas_token", "account_key", "connection_string", "client_secret", "oss_key_id", "oss_key_secret"),
}
HEAD = f"""# Where this team's runs are; {VARIABLE} goes before it.
# Written by `jokbo team init`; git holds it: no secrets.
"""
Settings = dict[str, Any]


class Metric(StrEnum):
    """By what models are compared."""

    good = "good"
    win_rate = "win_rate"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@in_one_line
def init(
    remote: Annotated[
        str | None, typer.Option(help="Of DVC: a folder, ssh://HOST/PATH, s3://BUCKET/PATH ...")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Of an S3 server that is not Amazon's: https://HOST:PORT.")
    ] = None,
    tracking: Annotated[str | None, typer.Option(help="MLflow's server: http://HOST:PORT.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also change what is set already.")] = False,
) -> None:
    """Set the DVC remote and the tracking server of this project, or check those that are set.

    Both are tried first. Secrets come from the environment, or `dvc remote modify --local` keeps them out of git.
    """
    if not Path(".dvc").is_dir():
        raise InputError(".dvc: not there: run this in the root of a project")
    name, before = _remote()
    asked = _asked(remote, endpoint, before, replace)
    server_before = shared(Path())
    if tracking and tracking != server_before:
        check_shared(tracking, "--tracking")
        _may_change(f"{SHARED}: tracking", server_before, tracking, replace)
    address = tracking or server_before
    if asked:
        _probe(name, asked)
    said = server.check(address) if address else None
    changed = [path for folder in _folders() if asked for path in _write(folder, name, asked)]
    if address and address != server_before:
        write_text(Path(SHARED), f"{HEAD}tracking: {address}\n")
        changed.append(SHARED)
    shared_at = f"{_shown(asked)}: can be written and read" if asked else "nowhere: give --remote"
    print(f"data and models  {shared_at}")
    print("runs             " + (f"{address}: {said}" if address else "nowhere: give --tracking"))
    if address and os.environ.get(VARIABLE, address) != address:
        print(f"{VARIABLE}={hidden(os.environ[VARIABLE])} is set here, and goes before {SHARED}")
    if changed:
        print(f"For your colleagues: git add {' '.join(changed)} && git commit")


@app.command()
@in_one_line
def register(
    model: Annotated[Path, typer.Argument(help="That `evaluate` has measured, such as models/aligned.")],
    name: Annotated[str | None, typer.Option(help="In the registry; by default jokbo-NAME.")] = None,
    metric: Annotated[
        Metric, typer.Option(help="By which the champion is found, as the judge of evaluate.headline has it.")
    ] = Metric.good,
) -> None:
    """Register a model in MLflow with signature, card, licence and ancestry.

    The alias champion moves to it if its metric is better beyond the interval. Where .jokbo/seeds has runs like this
    project's with several seeds, that is the mean over them and its interval.
    """
    measured = judged(model, metric)
    uri = local_store(STATE)
    for line in registry.register(model, name or f"jokbo-{model.resolve().name}", measured, uri):
        print(line)


@app.command()
@in_one_line
def runs() -> None:
    """Show whose run made what dvc.lock has, stage by stage, as MLflow knows it."""
    uri = local_store(STATE)
    try:
        client, _ = connect(uri)
        found = {name: find_run(client, one.key) for name, one in committed().items()}
    except Exception as error:  # whatever MLflow and its stores raise
        raise InputError(f"{hidden(uri)}: {reason(error)}") from error
    table = Table("stage", "by", "on", "ended", "run", box=box.SIMPLE_HEAD)
    for name, run in found.items():
        if run is None:
            table.add_row(name, "", "", "", "none is known")
            continue
        tags, when = run.data.tags, run.info.status.lower()
        if ended := run.info.end_time:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(ended / 1000))
        table.add_row(name, *(escape(tags.get(tag, "")) for tag in (PERSON, HOST)), when, run.info.run_id)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def judged(model: Path, metric: Metric) -> registry.Measured:
    """Return what `evaluate` found of a model; over seeds, where .jokbo/seeds has several runs like this project's.

    InputError if it did not measure this model as it is.
    """
    from tasks.evaluate import MODELS

    names = {path: name for name, path in MODELS.items()}
    own = Path(os.path.relpath(model))
    if own not in names:
        raise InputError(f"{model}: it is none that `evaluate` measures: {', '.join(map(str, names))}")
    if "evaluate" in graph.read("evaluate").stale:
        raise InputError("evaluate is not up to date: run `make pipeline`, then this again")
    found = Evaluation.load(EVALUATION / "evaluation.json")
    if found.main is None or names[own] not in found.main.models:
        raise InputError(f"{model}: no judge has measured it: name one in evaluate.judges")
    of, name = asdict(found.main.models[names[own]]), f"{found.headline}/{metric.value}"
    values = [of[f"{metric.value}{end}"] for end in ("", "_low", "_high")]
    if None in values:
        raise InputError(f"{model}: {found.headline} does not say {metric.value}: give another --metric")
    figure = f"evaluate/judges/{found.headline}/models/{names[own]}/{metric.value}"
    over = over_seeds([seeds.figures(seed)[figure] for seed in seeds.alike("evaluate")] or [values[0]])
    if over.reach is None:
        return registry.Measured(name, *values)
    return registry.Measured(name, over.value, over.value - over.reach, over.value + over.reach, over.seeds)


def _remote() -> tuple[str, Settings]:
    """Return the name of the remote that is set in this project, and its settings that git holds.

    InputError if there is a secret among them.
    """
    try:
        with Repo() as repo:
            name = repo.config["core"].get("remote")
            found = _of(Config(".dvc", validate=False), "repo", name) or {}
    except (ConfigError, DvcException) as error:
        raise InputError(f".dvc/config: {hidden(line_of(error))}") from error
    if held := sorted(SECRET & set(found)):
        raise InputError(
            f".dvc/config: remote {name}: git holds its {held[0]}: take it out (`dvc remote modify --unset {name} "
            f"{held[0]}`), set another, and keep it by `dvc remote modify --local`, or in the environment"
        )
    return name or NAME, found


def _asked(remote: str | None, endpoint: str | None, before: Settings, replace: bool) -> Settings:
    """Return the settings of the remote that is asked for, or of the one that is set. InputError if it cannot be."""
    asked = {key: value for key, value in (("url", remote), ("endpointurl", endpoint)) if value}
    for key, value in asked.items():
        option = {"url": "--remote", "endpointurl": "--endpoint"}[key]
        scheme, _, rest = value.partition("://")
        user = rest.partition("/")[0].rpartition("@")[0]
        shown = hidden(value)
        if shown != value and not (scheme == "ssh" and ":" not in user and "?" not in value):
            raise InputError(
                f"{option} is {shown}, with a secret in it, and git would hold it: leave it out, and keep it by `dvc "
                "remote modify --local`, or in the environment"
            )
        if key == "url" and not rest:
            asked[key] = value = os.path.abspath(value)  # DVC's own would be relative to its file
        _may_change(f".dvc/config: {key} of the remote", before.get(key), value, replace)
    if endpoint and not str(asked.get("url") or before.get("url", "")).startswith("s3://"):
        raise InputError(f"--endpoint {endpoint}: only a remote at s3:// has one: leave it out")
    return {**before, **asked}


def _of(config: Config, level: str, name: str | None) -> Settings | None:
    """Return the settings of a remote at one level of DVC's: repo, which git holds, or local; None if it has none."""
    own: Any = config.load_one(level)
    return own.get("remote", {}).get(name)


def _may_change(what: str, before: str | None, now: str, replace: bool) -> None:
    if before and before != now and not replace:
        raise InputError(f"{what} is {hidden(before)}: add --replace to have {hidden(now)} instead")


def _probe(name: str, settings: Mapping[str, Any]) -> None:
    """Write a small file to the remote, read it and remove it. InputError if that can't be done."""
    shown, text = _shown(settings), uuid.uuid4().hex.encode()
    config: Settings = {"core": {"remote": name}, "remote": {name: dict(settings)}}
    doing = "opened"
    try:
        with Repo(config=config) as repo:
            found = repo.cloud.get_remote(name)
            fs, path = found.fs, found.fs.join(found.path, f"jokbo-probe-{text.decode()}")
            doing = "written"
            fs.makedirs(found.path, exist_ok=True)
            with fs.open(path, "wb") as file:
                file.write(text)
            doing = "read"
            try:
                with fs.open(path, "rb") as file:
                    if file.read() != text:
                        raise OSError("what was written comes back as something else")
            finally:
                doing = "cleaned up"
                fs.remove(path)
    except Exception as error:  # whatever boto, asyncssh and others make of it
        raise InputError(f"{shown}: cannot be {doing} ({hidden(line_of(error))[:300]})") from error


def _shown(settings: Mapping[str, Any]) -> str:
    endpoint = settings.get("endpointurl")
    return hidden(settings["url"]) + (f" at {hidden(endpoint)}" if endpoint else "")


def _folders() -> list[Path]:
    """Return the folders of this project and of its optional graphs: DVC projects of their own."""
    return [Path(), *(path for path in map(Path, projects.OPTIONAL) if (path / ".dvc").is_dir())]


def _write(folder: Path, name: str, settings: Mapping[str, Any]) -> list[str]:
    """Give the project in the folder the remote, and an optional graph what git is not to see of it, too; return what
    changed for git."""
    changed = []
    dvc = Config(str(folder / ".dvc"), validate=False)
    if _of(dvc, "repo", name) != settings or dvc["core"].get("remote") != name:
        edited: Any = dvc.edit("repo")
        with edited as own:
            own["core"]["remote"] = name
            own["remote"][name] = dict(settings)
        changed.append(str(folder / ".dvc/config"))
    secret = Config(".dvc", validate=False)
    kept = _of(secret, "local", name)
    if folder != Path() and kept:
        edited = dvc.edit("local")
        with edited as own:
            own["remote"][name] = kept
        shutil.copymode(secret.files["local"], dvc.files["local"])
    return changed


if __name__ == "__main__":
    app()
