"""The command `jokbo tree`: what models, runs and files came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jokbo.command import become, in_one_line
from jokbo.runtime import ancestry
from jokbo.team import runs
from jokbo.team.comparing import lineage

Named = Annotated[
    str,
    typer.Argument(
        help="The folder of a model, such as models/aligned; a run of MLflow, by its id or the beginning of it, or as "
        "NAME@alias or NAME/version of a registered model; a file or folder that a stage wrote, such as data/tokens."
    ),
]
All = Annotated[bool, typer.Option("--all", help="Also the code, data, parameters and machine of each.")]
AsJson = Annotated[bool, typer.Option("--json", help="All that is known, for machines.")]
Picture = Annotated[Path | None, typer.Option(help="Draw it into this file, .svg or .png.")]


@in_one_line
def tree(name: Named, everything: All = False, as_json: AsJson = False, picture: Picture = None) -> None:
    """Show who a model, run or file descends from, down to the data."""
    model = Path(name)
    if not ancestry.has_record(model):
        options = ["--all"] * everything + ["--json"] * as_json
        become("flows.project.tree", name, *options, *(["--picture", str(picture)] if picture else []))
    record, known = ancestry.Record.load(model), ancestry.records_beside(model)
    found = lineage.of_model(name, record, known, runs.commits())
    show(found, everything=everything, as_json=as_json, file=picture)


def show(node: lineage.Node, *, everything: bool, as_json: bool, file: Path | None) -> None:
    """Print a lineage, as a tree or as JSON, or draw it into a file."""
    if file:
        from jokbo.team.comparing import picture  # matplotlib takes seconds to import

        picture.save(node, file)
    if as_json:
        print(json.dumps(lineage.json_of(node), ensure_ascii=False, indent=1))
    elif file:
        print(file)
    else:
        Console().print(lineage.tree(node, everything=everything))
