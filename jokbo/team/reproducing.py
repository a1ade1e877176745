"""The command `jokbo reproduce`."""

from __future__ import annotations

from typing import Annotated

import typer

from jokbo.command import become, in_one_line


@in_one_line
def reproduce(
    run: Annotated[
        str,
        typer.Argument(
            help="A run of MLflow, a registered model (NAME/VERSION), a model's folder, or a git revision."
        ),
    ],
    everything: Annotated[bool, typer.Option("--all", help="Also every stage that led to it.")] = False,
    here: Annotated[
        bool,
        typer.Option(
            "--here", help="With the code and parameters of this folder as they stand, not that run's."
        ),
    ] = False,
    stage: Annotated[
        str | None, typer.Option(help="Of a git revision: which one; report by default.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the worktree in .jokbo/reproduced.")] = False,
) -> None:
    """Run again what a run ran, in a worktree at its commit; say whether it came out the same, else where not and why.

    Exit status: 0 identical, 3 the same within tolerance, 4 it differs; 1 the rerun failed, 2 bad input.
    """
    options = {"--all": everything, "--here": here, "--keep": keep, f"--stage={stage}": stage is not None}
    become("flows.project.reproduce", *(name for name, given in options.items() if given), "--", run)
