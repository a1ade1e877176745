"""Checks of what is about to run against the data that are there: jokbo.params.checks with the paths of the project.

Before a stage of the chain begins, the needs of this stage and of those after it are checked. So a name that `evaluate`
cannot find stops the chain before `tokenize`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import psutil
import pyarrow as pa

from jokbo.params import AnyParams, Params, checks
from jokbo.runtime.errors import InputError
from tasks.frame import projects
from tasks.frame.paths import COUNTS, DOCUMENTS, RAW, START

STAGES = "JOKBO_STAGES"  # set by a flow: the stages that it brings up to date


def check(settings: AnyParams, stages: Collection[str], stale: Collection[str]) -> None:
    """Raise InputError for what the stages ask of the data and cannot have, as far as that can be known now.

    stale: stages whose outputs are not those of params.yaml, so that what they left says nothing.
    """
    if isinstance(settings, Params):
        checks.check_splits(settings, stages)
        checks.check_files(settings, stages, projects.root())
        checks.check_methods(settings, stages, START if "fetch" not in stale else None)
        if "fetch" not in stale and START.is_dir():
            checks.check_start(settings, stages, checks.known_start(START))
    counts, raw = (projects.root() / path for path in (DOCUMENTS / COUNTS, RAW))
    if "prepare" not in stale and counts.is_file():
        checks.check_documents(settings, stages, checks.Counts.load(counts))
    elif "fetch" not in stale and raw.is_dir():
        checks.check_names(settings, stages, raw_sources(raw))


def check_before(name: str, settings: AnyParams) -> None:
    """Check what stage `name`, about to begin, and those that are to run after it ask of the data."""
    if name == "report":
        return
    chain = list(projects.stages())
    later = chain[chain.index(name) :] if name in chain else ()
    wanted = wanted_stages() if later else set()
    stages = {name, *(stage for stage in later if stage in wanted)}
    if name == "fetch" and isinstance(settings, Params):  # it makes anew what the other checks look at
        checks.check_files(settings, stages, projects.root())
    else:
        check(settings, stages, ["prepare"] if name == "prepare" else [])


def wanted_stages() -> set[str]:
    """Return the stages that are to run: those of the flow, or of the `dvc repro` above this process."""
    if STAGES in os.environ:
        return set(os.environ[STAGES].split(","))
    for parent in psutil.Process().parents():
        try:
            words = parent.cmdline()
        except psutil.Error:
            continue
        if "dvc" in map(os.path.basename, words) and ("repro" in words or {"exp", "run"} <= {*words}):
            named = {word.partition("@")[0] for word in words}
            chain = list(projects.stages())
            last = max((i for i, stage in enumerate(chain) if stage in named), default=len(chain))
            return set(chain[: last + 1])
    return set()


def raw_sources(raw: Path) -> set[str]:
    """Return the sources of which there are raw rows, in the folder that `fetch` left."""
    found: set[str] = set()
    for folder in (path for path in raw.iterdir() if path.is_dir()):
        for file in folder.glob("*.arrow"):
            try:
                with pa.memory_map(str(file)) as mapped, pa.ipc.open_stream(mapped) as reader:
                    for batch in reader:
                        found.update(batch["source"].unique().to_pylist())
            except (pa.ArrowException, OSError) as error:
                remedy = "`dvc checkout data/raw` or the stage fetch makes it again"
                raise InputError(f"{file}: not whole: {remedy}") from error
    return found
