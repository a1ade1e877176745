"""How a plan is shown: a table of the stages that are not up to date, with what they take, as far as that is known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from flows.plan import CACHED, MAYBE, RUNS, STAYS, Planned, read
from flows.terminal import columns
from jokbo.params import Params
from jokbo.runtime import room
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_if_there
from jokbo.runtime.mlflow_store import say
from jokbo.runtime.progress import duration
from jokbo.team import forecast
from jokbo.team.forecast import Took
from tasks.frame.paths import BASE, START
from tasks.frame.records import is_there
from tasks.frame.stage import timing

if TYPE_CHECKING:
    from jokbo.training.memory import Need

UNKNOWN = "unknown"
OTHER = "*"  # of a time: it is of other parameters
MEANINGS = {
    MAYBE: f"{MAYBE}: skipped if its inputs come out the same",
    CACHED: f"{CACHED}: DVC has what it made of the very same inputs",
}


def show(settings: Params, until: str | None = None, folder: Path = Path()) -> None:
    """Print which stages would run, why, and what they take. Nothing is started. `settings` are the chain's."""
    planned = read(until, folder)
    ahead = [each for each in planned if each.what != STAYS]
    if not ahead:
        print(f"Nothing would run: all {len(planned)} stages are up to date.")
        return
    working = [each for each in ahead if each.what != CACHED]
    took, needs = (
        _times(working),
        forecast.needs(settings, [each.name for each in working], _start(planned)),
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("stage", "", "time", "memory", "disk"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold")
    for each in ahead:
        table.add_row(*map(Text, _row(each, took.get(each.name), needs.get(each.name))))
    console = Console(width=columns())
    console.print(table)
    for line in _lines(planned, took):
        console.print(Text(line))


def _row(each: Planned, took: Took | None, need: Need | None) -> list[str]:
    time = duration(took.seconds) + OTHER * (not took.alike) if took else UNKNOWN
    memory = _size(need.total) if need else UNKNOWN
    disk = None if each.bytes is None else each.bytes + (forecast.checkpoints(need) if need else 0)
    taken = ["", ""] if each.what == CACHED else [time, memory]
    return [each.name, each.what, *taken, _size(disk), "; ".join(each.why)]


def _lines(planned: list[Planned], took: dict[str, Took]) -> list[str]:
    kinds = {kind: [each for each in planned if each.what == kind] for kind in (RUNS, MAYBE, CACHED, STAYS)}
    lines = [MEANINGS[kind] for kind in (MAYBE, CACHED) if kinds[kind]]
    if any(not each.alike for each in took.values()):
        lines.append(f"{OTHER} as it took with other parameters")
    known = [took[each.name].seconds for kind in (RUNS, MAYBE) for each in kinds[kind] if each.name in took]
    unknown = len(kinds[RUNS]) + len(kinds[MAYBE]) - len(known)
    if known:
        more = f", and {unknown} of unknown time" if unknown else ""
        lines.append(f"All together: {duration(sum(known))} at most{more}.")
    free = f"{decimal(room.left())} of memory, {decimal(shutil.disk_usage(Path()).free)} of disk"
    lines.append(f"Up to date: {len(kinds[STAYS])} of {len(planned)}. Free here: {free}.")
    return lines


def _times(working: list[Planned]) -> dict[str, Took]:
    """Return what the stages took: with the same parameters, as MLflow has it, or else in their last run here."""
    try:
        found = forecast.times({each.name: each.params for each in working})
    except InputError as error:
        say(f"{error}: times are of the last runs here alone")
        found = {}
    for each in working:
        last = read_if_there(timing(each.name))
        if last and not (each.name in found and found[each.name].alike):
            found[each.name] = Took(last["seconds"], each.alike)
    return found


def _start(planned: list[Planned]) -> Path | None:
    """Return the folder of the chain's language model, or of what it begins with, if it is there as it will be."""
    stays = {each.name for each in planned if each.what == STAYS}
    pairs = (("pretrain", BASE), ("fetch", START))
    return next((folder for stage, folder in pairs if stage in stays and is_there(folder)), None)


def _size(size: int | None) -> str:
    return UNKNOWN if size is None else decimal(size)
