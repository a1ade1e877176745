"""What benchmarks.data asks of datatrove, run by a Python that has it: `datatrove_pipeline.py TASK.json`.

TASK.json: texts (folder of jsonl), tokenizer (file), end (its end-of-text mark), folder (to write in), shingle_words,
bands, rows, workers, words: `spacy`, datatrove's own for English, or `white_space`, as jokbo splits them.
Writes FOLDER/result.json: seconds by phase, and what was kept.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer, DocumentTokenizerMerger
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils import word_tokenizers


class WhiteSpace(word_tokenizers.WordTokenizer):
    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    sent_tokenize = span_tokenize = None  # nothing here asks for sentences


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(task["folder"])
    files = len(list(Path(task["texts"]).glob("*.jsonl")))
    config = MinhashConfig(
        n_grams=task["shingle_words"], num_buckets=task["bands"], hashes_per_bucket=task["rows"]
    )
    if task["words"] == "white_space":  # the workers are forked, and inherit it
        word_tokenizers.load_tokenizer_assignments()["eng"] = WhiteSpace
    filtered, signatures, buckets, removed, documents, tokens = (
        str(folder / name) for name in ("filtered", "signatures", "buckets", "removed", "documents", "tokens")
    )
    phases = {
        "filters and signatures": (
            [
                JsonlReader(task["texts"]),
                GopherRepetitionFilter(),
                GopherQualityFilter(),
                PIIFormatter(),
                JsonlWriter(filtered, compression=None),
                MinhashDedupSignature(signatures, config),
            ],
            files,
        ),
        "buckets": ([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets),
        "clusters": ([MinhashDedupCluster(buckets, removed, config=config)], 1),
        "removal and tokens": (
            [
                JsonlReader(filtered),
                MinhashDedupFilter(removed),
                JsonlWriter(documents, compression=None),
                DocumentTokenizer(tokens, task["tokenizer"], eos_token=task["end"], seed=1),
            ],
            files,
        ),
        "one stream": (
            [DocumentTokenizerMerger(tokens, str(folder / "stream"), "stream", seed=1, progress=False)],
            1,
        ),
    }
    seconds, stats = {}, {}
    for name, (steps, tasks) in phases.items():
        began = time.perf_counter()
        executor = LocalPipelineExecutor(
            steps,
            tasks=tasks,
            workers=min(tasks, task["workers"]),
            logging_dir=str(folder / "logs" / name),
            start_method="fork",
        )
        stats[name] = executor.run().stats
        seconds[name] = time.perf_counter() - began
    found = {
        "seconds": seconds,
        "filtered": stats["filters and signatures"][2].stats["forwarded"].total,
        "kept": stats["removal and tokens"][1].stats["forwarded"].total,
        "tokens": stats["one stream"][0].stats["tokens"].total,
    }
    (folder / "result.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
