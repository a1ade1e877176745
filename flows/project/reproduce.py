"""`python -m flows.project.reproduce RUN` runs again what an MLflow run ran, and says whether it came out the same.

`jokbo reproduce` calls it. The exit status is the verdict: 0 identical, 3 the same within tolerance, 4 it differs; 1 if
the rerun failed, 2 for bad input.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.project import origins, worktree
from flows.project.origins import Origin
from flows.project.worktree import Worktree
from jokbo.runtime import changes, tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import in_one_line, read_if_there
from jokbo.runtime.interruption import Interrupted, raising
from jokbo.runtime.mlflow_runs import REPRODUCED_BY, REPRODUCES
from jokbo.runtime.mlflow_store import connect, reason, say
from jokbo.runtime.run_record import Account
from jokbo.team.reproducing import verdicts
from jokbo.team.reproducing.verdicts import Found, Outcome, Verdict
from tasks.frame.paths import METRICS, PLOTS, STATE
from tasks.frame.stage import INTERRUPTED, WRITTEN

STATUS = {Outcome.IDENTICAL: 0, Outcome.SAME: 3, Outcome.DIFFERS: 4}
NAME, VERDICT = "reproduction", "jokbo.verdict"  # artifacts and a tag of a rerun
METRICS_SHOWN, CAUSES_SHOWN = 3, 6  # in the table; MLflow has all
WIDTH = 120

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Rerun:
    """A stage that was run again, and what came of it."""

    before: Account
    now: Account
    verdict: Verdict


@app.command()
def main(
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
    try:
        with in_one_line(), raising():
            origin = origins.find(run, stage)
            code = _here(origin) if here else origin
            uri = tracking.local_store(STATE)
            with worktree.laid_out(code.commit, code.diff, uri, keep=keep) as laid:
                reruns = _rerun(laid, origin, everything=everything)
                outcome = verdicts.worst([each.verdict for each in reruns])
    except Interrupted as error:
        print(f"jokbo: reproduce stopped: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(STATUS[outcome])


def _here(origin: Origin) -> Origin:
    """Return the run with the code and parameters of this folder as they stand."""
    try:
        now = changes.collect(WRITTEN)
    except LookupError as error:
        raise InputError(f"--here: {error}") from error
    return replace(origin, commit=now.commit, diff=now.diff)


def _rerun(laid: Worktree, origin: Origin, *, everything: bool) -> list[Rerun]:
    """Run the stages again, one after the other, and tell of them; return what came of each."""
    needs, outs = laid.graph()
    accounts = [origin.account]
    if everything:
        if origin.account.record.folder != ".":
            raise InputError("--all: only a stage of the chain has its ancestry run again: leave it out")
        if origin.account.record.stage not in needs:
            raise InputError(
                f"dvc.yaml has no stage {origin.account.record.stage}: it has {', '.join(needs)}"
            )
        accounts = origins.ancestors(origin, needs, outs)
    made_here = {path for account in accounts for path in outs[account.record.stage]} if everything else set()
    for account in accounts:
        laid.bring(account.record, made_here)
    _tell_environment(laid, origin)
    reruns = []
    for number, before in enumerate(accounts, 1):
        name = before.record.stage
        print(f"jokbo: {number} of {len(accounts)}: {name}", file=sys.stderr, flush=True)
        if status := laid.run(before.record, lambda text: print(text, file=sys.stderr, flush=True)):
            print(f"jokbo: {name} ended with status {status} when it was run again", file=sys.stderr)
            sys.exit(status if status in (2, 75) else 1)
        now = laid.account(before.record)
        reruns.append(Rerun(before, now, _judged(laid, before, now)))
        print(f"jokbo: {name}: {reruns[-1].verdict.outcome}", file=sys.stderr, flush=True)
    table = _table([each.verdict for each in reruns])
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    _keep(reruns, table, laid.uri)
    return reruns


def _judged(laid: Worktree, before: Account, now: Account) -> Verdict:
    """Return the verdict on a rerun; what it is held against comes from DVC's cache."""
    folder = laid.root / now.record.folder

    def found(account: Account, file: Callable[[str], Path | None]) -> Found:
        name = account.record.stage.replace("@", "/")
        metrics, curves = file(f"{METRICS}/{name}.json"), file(f"{PLOTS}/{name}.csv")
        return Found(account.record, account.trails, read_if_there(metrics) if metrics else None, curves)

    return verdicts.judged(
        found(before, lambda path: laid.cached(before.record.outs.get(path))),
        found(now, lambda path: folder / path if (folder / path).is_file() else None),
    )


def _tell_environment(laid: Worktree, origin: Origin) -> None:
    """Say what of the environment is other than it was, before anything is run."""
    record = origin.account.record
    if not record.environments:
        print("jokbo: the environment of that run is not known", file=sys.stderr, flush=True)
        return
    lines = verdicts.of_environments(record.environments[-1], laid.surroundings(record))
    for line in lines or ["the same, as far as it can be known before"]:
        print(f"jokbo: environment: {line}", file=sys.stderr, flush=True)


def _table(found: Sequence[Verdict]) -> Table:
    """Return a row a stage: the verdict, where the rerun left the run, and the cause."""
    table = Table("stage", "verdict", box=box.ROUNDED)
    for name in ("where", "cause"):
        table.add_column(name, overflow="fold")
    for each in found:
        where = [str(each.where)] if each.where else [f"in {', '.join(each.outs)}"] if each.outs else []
        if each.outcome == Outcome.DIFFERS:
            where += _some(each.metrics, METRICS_SHOWN)
        cells = ("\n".join(lines) for lines in (where, _some(each.cause, CAUSES_SHOWN)))
        table.add_row(each.stage, each.outcome, *map(escape, cells))
    return table


def _some(lines: list[str], most: int) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = len(lines) - most
    return [*lines[:most], *([f"and {more} more"] if more > 0 else [])]


def _keep(reruns: Sequence[Rerun], table: Table, uri: str) -> None:
    """Keep the table and the verdict with each rerun in MLflow, and link rerun and run by tags. Says what can't be."""
    console = Console(width=WIDTH, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    try:
        client, _ = connect(uri)
        for each in reruns:
            run, rerun = each.before.record.run, each.now.record.run
            if rerun is None:
                continue
            client.log_text(rerun, text, f"{NAME}.txt")
            client.log_text(rerun, json.dumps(asdict(each.verdict), indent=1), f"{NAME}.json")
            client.set_tag(rerun, VERDICT, each.verdict.outcome)
            if run is not None:
                client.set_tag(rerun, REPRODUCES, run)
                client.set_tag(run, REPRODUCED_BY, rerun)
    except Exception as error:  # whatever MLflow and its drivers raise: the verdict stands
        say(f"MLflow does not take the verdict ({reason(error)}): the table above is all there is of it")


if __name__ == "__main__":
    app()
