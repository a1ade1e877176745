"""What is about to run, held against the data that are there: params.demands with the paths of the project.

Before a stage of the chain begins, all that this one and those after it ask is looked at: a name that `evaluate` cannot
find stops the chain before `tokenize`.
"""

from __future__ import annotations

import os
from collections.abc import Collection

import psutil
import pyarrow as pa

from jokbo.params import Params, demands
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_json
from tasks.frame.paths import DOCUMENTS, FACTS, RAW

STAGES = "JOKBO_STAGES"  # set by a flow: the stages that it brings up to date
CHAIN = (
    "fetch",
    "prepare",
    "tokenize",
    "prompts",
    "pretrain",
    "finetune",
    "distill",
    "preferences",
    "reward",
    "ppo",
    "evaluate",
)
FAMILY = "family_text"  # makes all of the data that the other stages family* read


def check(settings: Params, stages: Collection[str], stale: Collection[str]) -> None:
    """Raises InputError for what the stages ask of the data and cannot have, as far as that can be known now.

    stale: stages whose outputs are not those of params.yaml, so that what they left says nothing.
    """
    demands.check_splits(settings, stages)
    if "prepare" not in stale and (DOCUMENTS / FACTS).is_file():
        demands.check_documents(settings, stages, read_json(DOCUMENTS / FACTS))
    elif "fetch" not in stale and RAW.is_dir():
        demands.check_names(settings, stages, raw_sources())


def check_before(name: str, settings: Params) -> None:
    """What stage `name`, which is about to begin, and those that are to run after it ask of the data."""
    name = name.partition("@")[0]
    if name in ("fetch", "report"):
        return
    later = CHAIN[CHAIN.index(name) :] if name in CHAIN else (FAMILY,)
    wanted = wanted_stages()
    stages = {name, *(stage for stage in (*later, FAMILY) if stage in wanted)}
    check(settings, stages, ["prepare"] if name == "prepare" else [])


def wanted_stages() -> set[str]:
    """The stages that are to run: of the flow, or of the `dvc repro` above this process; none where nobody is."""
    if STAGES in os.environ:
        return set(os.environ[STAGES].split(","))
    for parent in psutil.Process().parents():
        try:
            words = parent.cmdline()
        except psutil.Error:
            continue
        if "dvc" in map(os.path.basename, words) and ("repro" in words or {"exp", "run"} <= {*words}):
            named = {word.partition("@")[0] for word in words}
            targets = [stage for stage in CHAIN if stage in named]
            if "report" in named or not (targets or any(word.startswith("family") for word in named)):
                return set(CHAIN)
            last = max((CHAIN.index(stage) for stage in targets), default=CHAIN.index("prepare"))
            family = [FAMILY] if any(word.startswith("family") for word in named) else []
            return {*CHAIN[: last + 1], *family}
    return set()


def raw_sources() -> set[str]:
    """The sources of which there are raw rows."""
    found: set[str] = set()
    for folder in (path for path in RAW.iterdir() if path.is_dir()):
        for file in folder.glob("*.arrow"):
            try:
                with pa.memory_map(str(file)) as mapped, pa.ipc.open_stream(mapped) as reader:
                    for batch in reader:
                        found.update(batch["source"].unique().to_pylist())
            except (pa.ArrowException, OSError) as error:
                remedy = "`dvc checkout data/raw` or the stage fetch makes it again"
                raise InputError(f"{file}: not whole: {remedy}") from error
    return found
