"""Make clean, distinct, split documents of the raw data sets. `python -m tasks.prepare`"""

from __future__ import annotations

import json

from jokbo.data import preparation, shards
from jokbo.data.documents import DOCUMENT_SCHEMA
from jokbo.data.outputs import assemble, whole_directory
from tasks.paths import DOCUMENTS, JUDGE_TEXTS, RAW
from tasks.records import write_metrics
from tasks.stage import Stage, run_stage


def prepare(stage: Stage) -> None:
    raw = {path.name: path for path in RAW.iterdir() if path.is_dir()}
    with shards.processes(stage.compute.workers) as spread:
        splits, facts = preparation.prepare(raw, stage.params, stage.checkpoints, spread)
    with whole_directory(DOCUMENTS) as documents, whole_directory(JUDGE_TEXTS) as judge:
        assemble(splits.pop("judge"), judge, DOCUMENT_SCHEMA)
        for split, files in splits.items():
            assemble(files, documents / split, DOCUMENT_SCHEMA)
        (documents / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}) + "\n")
        facts["about"] = json.loads((RAW / "sources.json").read_text())
        (documents / "facts.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
    write_metrics(stage, {name: found for name, found in facts.items() if name not in ("examples", "about")})


if __name__ == "__main__":
    run_stage("prepare", prepare)
