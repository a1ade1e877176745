"""The commands `jokbo label`: the page on which people compare responses, and what they said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jokbo.command import STATE, in_one_line
from jokbo.labelling.options import Database
from jokbo.runtime.errors import InputError

SAMPLES = Path("data/evaluation/samples.jsonl")

label = typer.Typer(help="Let people compare responses on a page, and see what they said.")
Named = Annotated[
    str | None,
    typer.Option("--name", help="Of the labeller in params.yaml, if there are several of kind people."),
]


@label.callback(invoke_without_command=True)
@in_one_line
def serve_labels(
    context: typer.Context,
    name: Named = None,
    database: Database = None,
    host: Annotated[
        str, typer.Option(help="Whom it listens to; by default this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8766,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="How long an item stays reserved for a person.")
    ] = 15.0,
) -> None:
    """Serve the page on which people compare what the policy wrote; Ctrl-C ends it."""
    if context.invoked_subcommand:
        given = ((name, context.get_parameter_source(name)) for name in context.params)
        for option in (name for name, source in given if source and source.name == "COMMANDLINE"):
            raise InputError(f"--{option}: put it behind {context.invoked_subcommand}, if that takes it")
        return
    from jokbo.labelling import serving, store

    batch = serving.batch_of(name)
    engine = store.open_store(serving.database(database, STATE))
    serving.serve(batch, engine, serving.Address(host, port), STATE, minutes)


@label.command("export")
@in_one_line
def export_votes(
    name: Named = None,
    database: Database = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder; by default data/local/labels, where the stage reads them.")
    ] = None,
) -> None:
    """Write every vote, also those that were changed or taken back; with --out also answers that people wrote."""
    from jokbo.labelling import results, serving, store

    engine = store.open_store(serving.database(database, STATE))
    for line in results.export(serving.batch_of(name), engine, out):
        print(line)


@label.command("compare")
@in_one_line
def compare_models(
    prompts: Annotated[int, typer.Option(min=1, help="Of how many prompts, the first ones.")] = 50,
    labels: Annotated[int, typer.Option(min=1, help="How many people judge each item.")] = 2,
) -> None:
    """Have people compare the models: publish what the stage evaluate had each of them write, every two of them."""
    from jokbo.labelling import models
    from jokbo.preferences.batch import batch_file

    batch = models.batch_of(SAMPLES, prompts, labels)
    batch.save(batch_file(batch.name))
    alike = f" ({batch.alike:,} are left out: their texts are alike or empty)" if batch.alike else ""
    asked = f"{len(batch.items):,} comparisons of models are in {batch_file(batch.name)}{alike}"
    print(f"{asked}: `jokbo label --name {batch.name}` has people judge them")


@label.command("agreement")
@in_one_line
def agreement_of_labels(name: Named = None, database: Database = None) -> None:
    """Say how far people agree, how far each can be relied on, and, of `compare`, how the models rank."""
    from jokbo.labelling import results, serving, store

    engine = store.open_store(serving.database(database, STATE))
    for line in results.agreed(serving.batch_of(name), engine):
        print(line)
