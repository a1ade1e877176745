"""The command `jokbo reproduce`: it hands over to its flow, which lays out the worktree."""

from __future__ import annotations

import typer

from jokbo.command import become, in_one_line


@in_one_line
def reproduce(context: typer.Context) -> None:
    """Run again what a run ran; say whether it came out the same, else where not and why (--help: how)."""
    become("flows.project.reproduce", *context.args)
