"""`python -m flows.profile NAME` runs the chain with other answers, beside the one of params.yaml.

A profile, profiles/NAME.yaml, holds the keys of params.yaml that differ. It runs in a project of its own,
.jokbo/profiles/NAME, which shares the DVC cache and the MLflow store; its report is there. What it measured comes back
as profiles/NAME.json, small enough for git, and the report shows its base model beside this project's own.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from dvc.config import Config, ConfigError
from ruamel.yaml import YAML

from flows.command import one_line
from flows.flow import alone
from flows.supervise import follow
from jokbo import params
from jokbo.data.fetch.sources import LOCAL
from jokbo.runtime import kept, tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import atomic_write_file
from jokbo.runtime.regular import check_all_regular
from tasks.frame import projects
from tasks.frame.paths import BASE, METRICS, PROFILES, REPORT, RESULT, STATE
from tasks.frame.stage import state

CODE = ("jokbo", "tasks", "flows", "dvc.yaml", ".dvcignore")
SHOWN = ("prepare", "tokenize", "pretrain")  # whose metrics are kept

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    name: Annotated[str, typer.Argument(help="Of profiles/NAME.yaml.")],
    until: Annotated[
        str | None, typer.Option(help="Last stage to run, from pretrain on; all if none.")
    ] = None,
) -> None:
    """Run the chain of a profile, and keep what was measured as profiles/NAME.json."""
    with one_line():
        folder = project(name)
        check_until(until)
        make_files(name, folder / LOCAL)
        bring_up(folder, until)
    found = {stage: json.loads((folder / METRICS / f"{stage}.json").read_text()) for stage in SHOWN}
    if (folder / RESULT).is_file() and until is None:
        found["result"] = json.loads((folder / RESULT).read_text())
    results = PROFILES / f"{name}.json"
    kept.keep(results, found, (folder / BASE).parent)
    print(f"{results}: {found['pretrain']['validation']['bits_per_byte']:.3f} bits a byte on held-out text")
    if until is None:
        print(f"report: {folder / REPORT}")


def bring_up(folder: Path, until: str | None = None, settings: Mapping[str, str] | None = None) -> None:
    """Run the chain of the project in `folder`, up to a stage or all of it, with this project's MLflow.

    `settings` go into its environment. Exits as it does if it fails.
    """
    store = {"MLFLOW_TRACKING_URI": tracking.local_store(state().resolve())}
    command = [sys.executable, "-m", "flows.pipeline", *(["--until", until] if until else [])]
    environment = {**os.environ, **store, **(settings or {})}
    status = follow(command, environment, lambda line: print(line, flush=True), lambda: False, folder)
    if status:
        sys.exit(status)


def make_files(name: str, local: Path) -> None:
    """Run `make` of profiles/NAME.py, if there is one: it makes files that the profile names, below its data/local."""
    if (maker := PROFILES / f"{name}.py").is_file():
        runpy.run_path(str(maker))["make"](local)


def check_until(until: str | None) -> None:
    """Raise InputError for a last stage that is none, or that comes before what is kept of a profile."""
    chain = list(projects.stages())
    if until is not None and until not in chain[chain.index(SHOWN[-1]) :]:
        known = ", ".join(chain[chain.index(SHOWN[-1]) :])
        raise InputError(f"--until {until}: it must be one of {known}")


def project(name: str) -> Path:
    """Return the project of a profile: this one's code as it stands, its own parameters, data and models.

    Raises InputError for parameters that are not right.
    """
    if name != Path(name).name:
        raise InputError(f"{name}: a profile is named without its folder")
    own = merged(Path("params.yaml"), PROFILES / f"{name}.yaml")
    params.checked(own, f"params.yaml with {PROFILES / name}.yaml")
    folder = STATE / "profiles" / name
    lay_out(folder, own)
    return folder


def lay_out(folder: Path, own: dict[str, Any]) -> None:
    """Make `folder` a project of this one's code as it stands with parameters of its own; it shares the DVC cache."""
    with alone(folder / STATE):  # or its code would change under a run of it
        _lay_out(folder, own)


def _lay_out(folder: Path, own: dict[str, Any]) -> None:
    with atomic_write_file(folder / "params.yaml") as file:
        YAML().dump(own, file)
    for path in map(Path, CODE):
        target = folder / path
        if path.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, target)
    # the report of a project reads it; this one has no profiles of its own
    (folder / PROFILES).mkdir(exist_ok=True)
    configure(folder)
    check_all_regular(LOCAL)
    shutil.rmtree(folder / LOCAL, ignore_errors=True)
    LOCAL.mkdir(parents=True, exist_ok=True)
    shutil.copytree(LOCAL, folder / LOCAL, copy_function=_link)


def _link(file: str, target: str) -> None:
    """Have the user's own text there too, where the disk allows not a second time on it."""
    try:
        os.link(os.path.realpath(file), target)
    except OSError:
        shutil.copy2(file, target)


def configure(folder: Path) -> None:
    """Give the project of a profile this one's DVC settings, remotes and cache. InputError if they are not right."""
    dvc = folder / ".dvc"
    dvc.mkdir(exist_ok=True)
    try:
        own, new = Config(".dvc", validate=False), Config(str(dvc), validate=False)
        for level in ("repo", "local"):  # .dvc/config, and .dvc/config.local with what git is not to see
            Path(new.files[level]).unlink(missing_ok=True)
            edited: Any = new.edit(level)
            with edited as settings:
                settings.update(own.load_one(level))
                if level == "repo":
                    settings["core"]["no_scm"] = True
                    settings["cache"].setdefault("dir", str(Path(".dvc/cache").resolve()))
            if Path(own.files[level]).exists():
                shutil.copymode(own.files[level], new.files[level])  # keys may stand in it
    except ConfigError as error:
        raise InputError(f".dvc/config: {' '.join(str(error).split())}") from error


def merged(base: Path, profile: Path) -> dict[str, Any]:
    """Return the parameters of `base` with what the profile names in their place.

    InputError if there is no such profile.
    """
    if not profile.is_file():
        there = ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml"))) or "none"
        raise InputError(f"{profile}: no such profile: there is {there}")
    tree, changes = params.read(base), params.read(profile)
    for section, keys in changes.items():
        before = tree.get(section)
        if isinstance(before, dict) and isinstance(keys, dict):
            # an answer of another kind has other keys: nothing of the one before stays
            same = keys.get("kind", before.get("kind")) == before.get("kind")
            keys = {**before, **keys} if same else keys
        tree[section] = keys
    return tree


if __name__ == "__main__":
    app()
