"""`python -m flows.control` trains A2C, A3C and PPO on classic control tasks, and compares them in one table.

What is compared stands in control/params.yaml. Each run, a setting on a task with a seed, is a process of its own. A
run that has ended has its row in .jokbo/control and is never done again; one that was stopped or killed goes on from
its checkpoint. In MLflow the runs stand below one, which has the table. When all are there, control/table.json is
written, of which `make results` makes the page. `--last` prints what is there and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as RichTable

from jokbo.control import figures, runs, settings, table
from jokbo.control.runs import Run
from jokbo.control.settings import FILE, ControlParams
from jokbo.reporting.tables import Table
from jokbo.runtime import kept, tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import in_one_line, read_if_there, write_text
from jokbo.runtime.interruption import STOPPED, Interrupted, raising
from jokbo.runtime.launcher import cores
from tasks.frame.paths import STATE
from tasks.frame.stage import INTERRUPTED, state, version

FOLDER, TABLE = "control", Path("control/table.json")  # of the rows, in .jokbo; of the comparison, in git
WIDTH = 150
# what each run would import by itself else, at the price of seconds: Adam takes torch._dynamo
PRELOADED = [
    *(figures.__name__, runs.__name__, "tasks.frame.stage", "typer"),
    *("torch._dynamo", "gymnasium.envs.classic_control"),
]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Failed(Exception):
    """A run ended without its row."""


@app.command()
def main(
    params: Annotated[Path, typer.Option(help="The file of settings.")] = FILE,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Runs at once; all cores if not given.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Print what is there, and run nothing.")] = False,
) -> None:
    """Do every run that is not there yet; print the table and the claims, and keep them for git."""
    try:
        with in_one_line(), raising():
            given = settings.load(params)
            runs.check(given, params)
            every = runs.all_runs(given, state() / FOLDER)
            if last and not _rows(every):
                raise InputError(f"{STATE / FOLDER}: no run of {params} has ended: leave --last out")
            random = runs.at_random(given, state() / FOLDER)
            failed = [] if last else _tracked(given, every, random, processes or cores())
            rows = _rows(every)
            found = table.comparison(given, rows, random)
            for each in (table.table(found), table.claims(found)):
                show(each)
            if len(rows) == len(every):
                if not last:
                    keep(found, rows)
                return
            print(f"{len(rows)} of {len(every)} runs are there: {TABLE} stays as it is", flush=True)
            if failed:
                raise InputError(f"{len(failed)} runs failed, as said above; run again to do them alone")
    except Interrupted:
        print(STOPPED, file=sys.stderr)
        sys.exit(INTERRUPTED)


def _tracked(
    params: ControlParams, every: Sequence[Run], random: Mapping[str, Sequence[float]], processes: int
) -> list[Run]:
    """Do the runs that are left, below one run of MLflow, which gets table and figures; return those that failed."""
    key = hashlib.sha256("".join(run.key for run in every).encode()).hexdigest()
    known = version()
    note = "Control tasks, a run each below this one. control.json has the table, control-claims.json the claims."
    tags = {"stage": FOLDER, **known, "mlflow.runName": "control tasks", "mlflow.note.content": note}
    of = tracking.Subject(FOLDER, key, params.model_dump(exclude={"algorithms"}), tags)
    store = {"tracking_uri": tracking.local_store(state()), "resumed": True, "state": state()}
    failed = []
    with tracking.open_run(of, **store) as parent:

        def ended(run: Run) -> None:
            row = run.found()
            below = {**known, **({"mlflow.parentRunId": parent.id} if parent.id else {})}
            own = tracking.Subject(run.job.name, run.key, runs.told(run.job), {**tags_of(run), **below})
            with suppress(Failed), tracking.open_run(own, **store) as logged:
                if row is None:
                    failed.append(run)
                    raise Failed
                for point in row["points"]:
                    logged.log({f"curve/{name}": value for name, value in point.items()}, int(point["steps"]))
                logged.log({name: row[name] for name in ("return", "episodes", "seconds")})

        run_all([run for run in every if run.found() is None], processes, ended)
        if len(rows := _rows(every)) == len(every):
            found = table.comparison(params, rows, random)
            for each in (table.table(found), table.claims(found)):
                parent.table(each.records(), f"{each.name}.json")
            for chart in figures.charts(found):
                parent.figure(chart.figure, f"figures/{chart.name}.svg")
    return failed


def _rows(every: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the rows of the runs that have ended."""
    return [row for run in every if (row := run.found()) is not None]


def tags_of(run: Run) -> dict[str, str]:
    """Return the tags of a run in MLflow."""
    note = f"{run.job.setting.name} on {run.job.where.environment}: `python -m flows.control` runs it again."
    return {"stage": "control run", "mlflow.runName": run.job.name, "mlflow.note.content": note}


def run_all(waiting: Sequence[Run], processes: int, ended: Callable[[Run], None]) -> None:
    """Do runs, so many at once, each in a process of its own; call `ended` after each, whatever came of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    left, going, begun = deque(waiting), {}, time.monotonic()
    try:
        while left or going:
            while left and len(going) < processes:
                run = left.popleft()
                ours, theirs = context.Pipe()
                process = context.Process(target=runs.work, args=(run, theirs))
                process.start()
                theirs.close()
                going[process.sentinel] = (run, process, ours)
            for sentinel in wait([*going]):
                run, process, ours = going.pop(sentinel)  # pyright: ignore[reportArgumentType]
                process.join()
                ended(run)
                done = f"{len(waiting) - len(left) - len(going)}/{len(waiting)}"
                print(
                    f"control {done} after {time.monotonic() - begun:.0f} s  {said(run, process, ours)}",
                    flush=True,
                )
                ours.close()
    finally:
        for _, process, _ in going.values():
            process.kill()
            process.join()


def said(run: Run, process: Any, pipe: Connection) -> str:
    """Return how a run ended."""
    if (row := run.found()) is not None:
        return f"{run.job.name}: return {row['return']:.1f}, {row['seconds']:.0f} s"
    try:
        why = pipe.recv()
    except EOFError:
        why = f"it ended with status {process.exitcode}"
    return f"{run.job.name}: failed: {why}"


def show(made: Table) -> None:
    """Print a table, and what it is of."""
    shown = RichTable(*made.header)
    for row in made.rows:
        shown.add_row(*row)
    console = Console(width=WIDTH)
    console.print(shown)
    console.print(made.caption, markup=False)


def keep(found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the comparison for git, a line a run, with the day and the machines; the same one stays as it is."""
    before = read_if_there(TABLE) or {}
    measured = before.pop(kept.MEASURED, None)
    if measured is None or before != found:
        machines = sorted({row["machine"] for row in rows})
        measured = {"date": time.strftime("%Y-%m-%d"), "machine": "; ".join(machines)}
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in found["rows"])
    head = json.dumps(
        {**{key: own for key, own in found.items() if key != "rows"}, kept.MEASURED: measured}, indent=1
    )
    write_text(TABLE, f'{head[:-2]},\n "rows": [\n{lines}\n]\n}}\n')
    print(f"{TABLE} is written", flush=True)


if __name__ == "__main__":
    app()
