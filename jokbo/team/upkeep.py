"""The commands `jokbo doctor` and `jokbo clean`: each hands over to its flow, which knows the whole project."""

from __future__ import annotations

import typer

from jokbo.command import become, in_one_line


@in_one_line
def doctor(context: typer.Context) -> None:
    """Say what of this machine and project is wrong, and what to do (python -m flows.doctor; options go to it)."""
    become("flows.doctor", *context.args)


@in_one_line
def clean(context: typer.Context) -> None:
    """Remove what runs have left and nobody needs, once shown (python -m flows.clean; options go to it)."""
    become("flows.clean", *context.args)
