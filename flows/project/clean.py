"""`python -m flows.project.clean` removes what runs have left and nobody needs any more; `jokbo clean` calls it.

What a run that lives or a resume needs stays, and so do data and models of the current dvc.lock, and finished runs of
MLflow. What would go is shown first, with its size and why.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from flows.project import caches, leftovers
from flows.project.leftovers import Leftover
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import in_one_line
from jokbo.team.upkeep import superseded
from tasks.frame.paths import STATE

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    cache: Annotated[
        bool,
        typer.Option("--cache", help="Also of DVC's cache what no lock, branch, tag or experiment uses."),
    ] = False,
    profiles: Annotated[
        bool, typer.Option("--profiles", help="Also the projects of profiles, with their models.")
    ] = False,
    runs: Annotated[
        bool, typer.Option("--runs", help="Also finished runs in MLflow that a later one has superseded.")
    ] = False,
) -> None:
    """Show what can go, ask, and remove it."""
    with in_one_line():
        if not Path("dvc.yaml").is_file():
            raise InputError("dvc.yaml: not there: run this in the folder of a project, a clone of jokbo")
        busy = leftovers.live(Path())
        found = [*leftovers.found(busy, profiles=profiles), *(_of_cache(busy) if cache else [])]
        old = superseded.runs(STATE) if runs else []
        _show(found, old)
        if busy:
            print(f"At work here: {', '.join(sorted(busy))}; what is theirs, or may be, stays.")
        if (found or old) and (yes or _agreed()):
            freed = _remove({path for each in found for path in each.paths}, profiles=profiles, cache=cache)
            superseded.remove(old, STATE)
            beside = f"; runs of MLflow: {len(old)}, which `mlflow gc` removes for good" if old else ""
            print(f"Removed: {decimal(freed)}{beside}")


def _of_cache(busy: Collection[str]) -> list[Leftover]:
    if busy:
        raise InputError(f"--cache: {', '.join(sorted(busy))} is at work here: wait for it, or leave it out")
    with caches.unused() as found:
        return found


def _show(found: Sequence[Leftover], runs: Sequence[str]) -> None:
    if not found and not runs:
        print("Nothing can go.")
        return
    for each in found:
        first, *others = each.paths
        more = f" and {len(others):,} more" if others else ""
        print(f"{each.what}, {decimal(each.bytes)}: {first}{more}: {each.why}")
    if runs:
        print(f"runs of MLflow: {len(runs)}: finished, and superseded by later ones")
    print(f"In all: {decimal(sum(each.bytes for each in found))}")


def _agreed() -> bool:
    """Ask whether it shall go; where nobody can answer, it shall not."""
    if not sys.stdin.isatty():
        print("Nothing is removed: --yes does it.")
        return False
    return typer.confirm("Remove it?")


def _remove(shown: Collection[Path], *, profiles: bool, cache: bool) -> int:
    """Remove what was shown, and can still go, while no run can begin. Return how many bytes that was."""
    freed = 0
    with leftovers.alone(Path()) as busy:
        for each in leftovers.found(busy, profiles=profiles):
            freed += _take_away(each, shown)
        if cache and not busy:
            with caches.unused() as found:
                freed += sum(_take_away(each, shown) for each in found)
    subprocess.run(["git", "worktree", "prune"], capture_output=True)
    return freed


def _take_away(left: Leftover, shown: Collection[Path]) -> int:
    mine = replace(left, paths=tuple(path for path in left.paths if path in shown))
    bytes = mine.bytes
    try:
        mine.remove()
    except OSError as error:
        print(f"jokbo: {error.filename or mine.paths[0]}: {error.strerror}: it stays", file=sys.stderr)
        return bytes - mine.bytes
    return bytes


if __name__ == "__main__":
    app()
