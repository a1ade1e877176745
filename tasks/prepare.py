"""Make clean, distinct, split documents of the raw data sets. `python -m tasks.prepare`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.data import shards
from jokbo.data.losses import of_preparation
from jokbo.data.outputs import assemble
from jokbo.data.prepare import preparation
from jokbo.data.prepare.documents import DOCUMENT_SCHEMA
from jokbo.runtime.files import read_json, whole_directory
from tasks.frame.paths import DOCUMENTS, FACTS, JUDGE_TEXTS, RAW
from tasks.frame.records import say, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Prepare


def prepare(stage: Stage) -> None:
    with shards.processes(stage.compute.workers) as spread:
        splits, facts = work(stage.params, stage.checkpoints, spread)
    facts["about"] = read_json(RAW / "sources.json")
    with whole_directory(DOCUMENTS) as documents, whole_directory(JUDGE_TEXTS) as judge:
        assemble(splits.pop("judge"), judge, DOCUMENT_SCHEMA)
        for split, files in splits.items():
            assemble(files, documents / split, DOCUMENT_SCHEMA)
        (documents / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}) + "\n")
        (documents / FACTS).write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
    say(stage, of_preparation(facts))
    counts = {name: found for name, found in facts.items() if name not in ("examples", "about", "told")}
    write_metrics(stage, counts)


def work(
    settings: Prepare, folder: Path, spread: shards.Spread
) -> tuple[dict[str, list[Path]], dict[str, Any]]:
    """All that is done by shards, in `folder`: documents by split and what was counted."""
    raw = {path.name: path.resolve() for path in RAW.iterdir() if path.is_dir()}
    return preparation.prepare(raw, settings, folder, spread)


if __name__ == "__main__":
    run_stage("prepare", prepare)
