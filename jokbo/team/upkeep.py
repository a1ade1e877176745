"""The commands `jokbo doctor` and `jokbo clean`: each hands over to its flow, which knows the whole project."""

from __future__ import annotations

import typer

from jokbo.command import become, in_one_line


@in_one_line
def doctor(context: typer.Context) -> None:
    """Say what of this machine and project is wrong, and what to do (--json: for machines; --memory: reckon it)."""
    become("flows.project.doctor", *context.args)


@in_one_line
def clean(context: typer.Context) -> None:
    """Show what runs have left and nobody needs, and remove it (--yes: unasked; also --cache, --profiles, --runs)."""
    become("flows.project.clean", *context.args)
