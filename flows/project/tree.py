"""`python -m flows.project.tree NAME` (`jokbo tree`) shows what a run, or a file that a stage wrote, was made from.

DVC remembers it. A model with a record of its ancestry beside it needs no DVC (jokbo/team/comparing/commands.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from flows.project.remembered import Memory
from jokbo.command import in_one_line
from jokbo.runtime import ancestry
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import KEY
from jokbo.team import runs
from jokbo.team.comparing.commands import All, AsJson, Named, Picture, show
from jokbo.team.comparing.lineage import Node
from tasks.frame.identity import project
from tasks.frame.lockfile import LOCK

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@in_one_line
def main(name: Named, everything: All = False, as_json: AsJson = False, picture: Picture = None) -> None:
    """Show what a run of MLflow, or a file or folder that a stage wrote, was made from, down to the data."""
    show(find(name), everything=everything, as_json=as_json, file=picture)


def find(name: str) -> Node:
    """Return the lineage of a run or of an output. InputError if it is neither, or is not as its stage left it."""
    if not Path(name).exists() and (run := runs.find(name)):
        made = runs.describe(run)
        tags, inputs = run.data.tags, runs.inputs(run)
        own = {"stage": tags["stage"], "key": tags[KEY], "commit": tags.get("git.commit")}
        more = {"params": dict(run.data.params), "environments": runs.environments(run)}
        return _Builder().node((made.name, tags[KEY], "key"), inputs, {**own, **more})
    if not LOCK.is_file():
        raise InputError(f"{name}: no model, run or output of a stage: name one, such as models/aligned")
    builder = _Builder()
    out = _output_of(name, builder.memory)
    return builder.of_output(out, _md5(out, name))


class _Builder:
    """Puts nodes together from what DVC remembers; each once."""

    def __init__(self) -> None:
        self.memory, self.commit_of = Memory(), runs.commits()
        self.made: dict[tuple[str, str], Node] = {}

    def of_output(self, path: str, md5: str) -> Node:
        """Return an output with all that it was made from."""
        if (path, md5) not in self.made:
            ran = self.memory.by_out[path, md5]
            own = {
                "stage": ran.stage,
                "key": ran.key,
                "commit": self.commit_of(ran.key),
                "params": ran.params,
            }
            self.made[path, md5] = self.node((path, md5, "md5"), ran.deps, own)
        return self.made[path, md5]

    def node(self, named: tuple[str, str, str], deps: Mapping[str, str], own: Mapping[str, Any]) -> Node:
        """Return what is `named` so and was made from `deps`: of those, outputs are its parents."""
        code = {path: md5 for path, md5 in deps.items() if ancestry.is_code(path)}
        parents = [out for out in deps.items() if out in self.memory.by_out]
        data = {path: md5 for path, md5 in deps.items() if path not in code and (path, md5) not in parents}
        return Node(*named, **own, code=code, data=data, parents=[self.of_output(*out) for out in parents])


def _output_of(name: str, memory: Memory) -> str:
    """Return the output of a stage that a path is, or lies in."""
    wanted = Path(os.path.relpath(name))
    outs = {Path(out): out for ran in memory.last.values() for out in ran.outs}
    for path in (wanted, *wanted.parents):
        if path in outs:
            return outs[path]
    raise InputError(
        f"{name}: no stage wrote it, and no run of MLflow begins so: see models/, data/ and `make ui`"
    )


def _md5(out: str, name: str) -> str:
    """Return the md5 of an output. InputError if it is not there, or not as its stage left it."""
    with project() as repo:
        (found,) = repo.find_outs_by_path(out)
        if found.status() or found.hash_info is None or found.hash_info.value is None:
            raise InputError(
                f"{name}: {out} is not as its stage left it: `dvc checkout {out}`, or run the stage"
            )
        return found.hash_info.value


if __name__ == "__main__":
    app()
