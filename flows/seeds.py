"""`python -m flows.seeds 1 2 3` runs the chain once for each seed, and prints the mean of each figure and its interval.

The run of seed N is a project of its own, .jokbo/seeds/N: this one's code and parameters, with N as the seed of
every stage from `prompts` on. All share the DVC cache, so the data are prepared once. In MLflow they stand below one
run, which has the table. A command that was stopped goes on. `--last` prints what is there and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flows import graph
from flows.command import one_line
from flows.profile import bring_up, check_until, lay_out
from jokbo import params
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import flat
from jokbo.team import runs
from jokbo.team.comparing import facts
from jokbo.team.comparing.estimates import Figure, over_seeds
from tasks.frame import lockfile
from tasks.frame.identity import of_entry
from tasks.frame.lockfile import LOCK
from tasks.frame.paths import METRICS, STATE
from tasks.frame.stage import PARENT_RUN, state, version

DATA = ("fetch", "prepare", "tokenize")  # the same for every seed
FOLDER = STATE / "seeds"  # a project a seed
SHOWN = ("pretrain", "tasks", "finetune", "distill", "reward", "align", "evaluate")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    seeds: Annotated[list[int], typer.Argument(min=0, help="One or several.")],
    until: Annotated[
        str | None, typer.Option(help="Last stage to run, from pretrain on; all if none.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Print what is there, and run nothing.")] = False,
) -> None:
    """Run the chain once for each seed; print each figure, its mean and the 95% interval of that."""
    with one_line():
        check_until(until)
        if len({*seeds}) < len(seeds):
            raise InputError(f"{' '.join(map(str, seeds))}: a seed stands there twice: leave it out")
        if not last:
            _run(seeds, until)
        found = {seed: figures(seed) for seed in seeds}
    show(found)


def _run(seeds: Sequence[int], until: str | None) -> None:
    """Bring the project of each seed up to date, below one run of MLflow, which gets the table."""
    own = params.read(Path("params.yaml"))
    name = f"seeds {', '.join(map(str, seeds))}"
    note = f"The chain with the {name}, a run each below this one. seeds.json has every figure, mean and interval."
    tags = {"stage": runs.SEEDS, **version(), "mlflow.runName": name, "mlflow.note.content": note}
    key = hashlib.sha256(json.dumps([own, seeds, until], sort_keys=True).encode()).hexdigest()
    of = tracking.Subject(runs.SEEDS, key, seeded(own, ", ".join(map(str, seeds))), tags)
    with tracking.open_run(
        of, tracking_uri=tracking.local_store(state()), resumed=True, state=state()
    ) as parent:
        for seed in seeds:
            lay_out(folder_of(seed), seeded(own, seed))
            bring_up(folder_of(seed), until, {PARENT_RUN: parent.id} if parent.id else {})
        found = {seed: figures(seed) for seed in seeds}
        means = estimates(found)
        parent.log({f"mean/{figure}": each.value for figure, each in means.items()})
        parent.log({f"half/{figure}": each.reach for figure, each in means.items() if each.reach is not None})
        parent.table(rows(found), runs.TABLE)


def seeded(own: Mapping[str, Any], seed: int | str) -> dict[str, Any]:
    """Return parameters with this seed, or the seeds of several runs, in every section from `prompts` on."""
    return {
        name: {**section, "seed": seed}
        if name not in DATA and isinstance(section, dict) and "seed" in section
        else section
        for name, section in own.items()
    }


def figures(seed: int) -> dict[str, float]:
    """Return each number that stages of this seed's run wrote: stage/name -> value. InputError if none is there."""
    files = {stage: folder_of(seed) / METRICS / f"{stage}.json" for stage in SHOWN}
    read = {stage: json.loads(file.read_text("utf-8")) for stage, file in files.items() if file.is_file()}
    if not read:
        raise InputError(f"{folder_of(seed)}: nothing has run there: leave --last out")
    return facts.numbers(read)


def estimates(found: Mapping[int, Mapping[str, float]]) -> dict[str, Figure]:
    """Return the estimate of each figure that every seed has."""
    first, *others = found.values()
    return {
        name: over_seeds([own[name] for own in found.values()])
        for name in first
        if all(name in other for other in others)
    }


def alike(stage: str) -> list[int]:
    """Return the seeds whose runs, up to `stage`, differ by the seed alone from what this project's dvc.lock has."""
    needed = graph.read(stage).needs
    own = _recipe(LOCK, needed)
    folders = [path for path in FOLDER.glob("*") if path.name.isdigit()]
    return sorted(int(path.name) for path in folders if own and _recipe(path / LOCK, needed) == own)


def _recipe(lock: Path, stages: Iterable[str]) -> dict[str, Any] | None:
    """Return what a dvc.lock says of how these stages ran, but for seeds and what stages made; None if it does not have
    them all, or one read what another has made anew since.
    """
    entries = lockfile.parsed(lock.read_text("utf-8") if lock.is_file() else "") or {}
    if not all(stage in entries for stage in stages):
        return None
    made = {out["path"]: out["md5"] for entry in entries.values() for out in entry.get("outs", [])}
    found = {}
    for stage in stages:
        identity = of_entry(entries[stage])
        if any(made.get(path, md5) != md5 for path, md5 in identity.deps.items()):
            return None
        given = {path: md5 for path, md5 in identity.deps.items() if path not in made}
        params = {name: value for name, value in flat(identity.params).items() if not _seeds(name)}
        found[stage] = (entries[stage]["cmd"], params, given)
    return found


def _seeds(name: str) -> bool:
    """Return whether a parameter of this dotted name is the seed of a section from `prompts` on."""
    section, _, rest = name.partition(".")
    return rest == "seed" and section not in DATA


def show(found: Mapping[int, Mapping[str, float]]) -> None:
    """Print each figure of every seed, the mean, and how far from it the 95% interval reaches."""
    shown = rows(found)
    table = Table(*shown[0])
    for row in shown:
        table.add_row(*(value if isinstance(value, str) else f"{value:.4g}" for value in row.values()))
    Console(width=130).print(table)


def rows(found: Mapping[int, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return the table of figures: of each, every seed's value, the mean and its interval."""
    return [
        {
            runs.FIGURE: name,
            **{f"{runs.SEED}{seed}": own[name] for seed, own in found.items()},
            "mean, 95% interval": str(each),
        }
        for name, each in estimates(found).items()
    ]


def folder_of(seed: int) -> Path:
    """Return the project of a seed."""
    return FOLDER / str(seed)


if __name__ == "__main__":
    app()
