"""`python -m flows.project.diff A B` (`jokbo diff`) says what differs between two runs, models or revisions.

It ends as diff(1) does: 0 if nothing differs, 1 if something does, 2 for what it can't compare.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flows.project import revisions
from jokbo.command import in_one_line
from jokbo.runtime import ancestry
from jokbo.runtime.errors import InputError
from jokbo.team import runs
from jokbo.team.comparing import facts, shown
from jokbo.team.comparing.differences import compare
from jokbo.team.comparing.facts import Made

DIFFERS = 1
Named = Annotated[
    str,
    typer.Argument(
        help="A run of MLflow (its id or the beginning of it), NAME@alias or NAME/version of a registered model, the "
        "folder of a model, a file of ancestry, a git revision, or the folder of a project. Of several seeds: the run "
        "of `python -m flows.seeds`, the folder .jokbo/seeds, or what has a seed each, with commas between them."
    ),
]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@in_one_line
def main(
    left: Named,
    right: Named,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what differs between two runs, models or revisions: data, code, parameters, environment, parents, metrics."""
    found = compare(find(left), find(right))
    if as_json:
        print(json.dumps(shown.json_of(found), ensure_ascii=False, indent=1))
    else:
        shown.show(found, Console())
    if found.found:
        sys.exit(DIFFERS)


def find(name: str) -> Made:
    """Return what is known of what the user named. InputError if it is nothing that is known, or two things."""
    path = Path(name)
    if name.endswith(ancestry.SUFFIX):
        return facts.of_file(path)
    if path.is_dir():
        return revisions.of_project(path) or revisions.of_seeds(path) or facts.of_model(path)
    if "," in name:
        return facts.together(name, [find(each) for each in name.split(",")])
    run, revision = runs.find(name), revisions.of_revision(name)
    if run and revision:
        raise InputError(
            f"{name}: both a run of MLflow ({run.info.run_id}) and a git revision: write more of it"
        )
    if run:
        return runs.describe(run)
    if revision is None:
        what = "no run of MLflow, registered model, folder of a model or git revision"
        raise InputError(f"{name}: {what} is there of this name: see `make ui`, models/ and `git log`")
    return revision


if __name__ == "__main__":
    app()
