"""Make clean, distinct, split documents of the raw data sets. `python -m tasks.prepare`"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jokbo.data import shards
from jokbo.data.counts import Counts, Fetched
from jokbo.data.exclusions import of_preparation
from jokbo.data.prepare import preparation
from jokbo.data.prepare.documents import DOCUMENT_SCHEMA
from jokbo.data.tables import assemble
from jokbo.runtime.files import atomic_write_folder
from tasks.frame.paths import COUNTS, DOCUMENTS, JUDGE_TEXTS, RAW, SOURCES
from tasks.frame.records import say, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Prepare


def prepare(stage: Stage) -> None:
    with shards.processes(stage.compute.workers) as parallel_map:
        splits, counts = work(stage.params, stage.checkpoints, parallel_map)
    counts = replace(counts, about=Fetched.load(RAW / SOURCES).tables)
    with atomic_write_folder(DOCUMENTS) as documents, atomic_write_folder(JUDGE_TEXTS) as judge:
        assemble(splits.pop("judge"), judge, DOCUMENT_SCHEMA)
        for split, files in splits.items():
            assemble(files, documents / split, DOCUMENT_SCHEMA)
        (documents / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}) + "\n")
        counts.save(documents / COUNTS)
    say(stage, of_preparation(counts))
    write_metrics(stage, counts.metrics())


def work(
    settings: Prepare, folder: Path, parallel_map: shards.ParallelMap
) -> tuple[dict[str, list[Path]], Counts]:
    """Do all that is done by shards, in `folder`. Return the files of documents by split, and the counts."""
    raw = {path.name: path.resolve() for path in RAW.iterdir() if path.is_dir()}
    return preparation.prepare(raw, settings, folder, parallel_map)


if __name__ == "__main__":
    run_stage("prepare", prepare)
