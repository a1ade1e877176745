"""Make clean, distinct, split documents of the raw data sets. `python -m tasks.prepare`"""

from __future__ import annotations

from datasets import concatenate_datasets, load_from_disk

from jokbo.data.documents import build_documents, only_labelled
from jokbo.data.outputs import save_table, save_tables, whole_directory
from jokbo.data.progress import progress
from tasks.paths import DOCUMENTS, JUDGE_TEXTS, RAW
from tasks.records import write_metrics
from tasks.stage import Stage, run_stage


def prepare(stage: Stage) -> None:
    rows = concatenate_datasets([load_from_disk(path) for path in sorted(RAW.iterdir())])
    tables, metrics = build_documents(
        progress(rows, "documents"),
        seed=stage.params.seed,
        splits=stage.params.splits.model_dump(),
        minimum_words=stage.params.minimum_words,
    )
    judge_texts = only_labelled(tables.pop("judge"))
    metrics["judge_texts"] = judge_texts.num_rows
    with whole_directory(DOCUMENTS) as documents, whole_directory(JUDGE_TEXTS) as judge:
        save_tables(tables, documents)
        save_table(judge_texts, judge)
    write_metrics(stage, metrics)


if __name__ == "__main__":
    run_stage("prepare", prepare)
