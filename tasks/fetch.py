"""Get the raw data sets, pinned. `python -m tasks.fetch`"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from jokbo.data.formats import RAW_SCHEMA
from jokbo.data.outputs import write_shards
from jokbo.data.sources import read_source
from jokbo.files import whole_directory
from tasks.paths import RAW
from tasks.records import write_metrics
from tasks.stage import Stage, run_stage, state


def fetch(stage: Stage) -> None:
    counts: Counter[str] = Counter()
    with whole_directory(RAW) as raw:
        for name in stage.params.sources:
            counts[f"too_long/{name}"] = 0
            counts[f"rows/{name}"] = write_shards(_rows(stage, name, counts), raw / name, RAW_SCHEMA)
        about = {name: source.model_dump() for name, source in stage.params.sources.items()}
        (raw / "sources.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    write_metrics(stage, dict(counts))


def _rows(stage: Stage, name: str, counts: Counter[str]) -> Iterator[dict]:
    source = stage.params.sources[name]
    for row in read_source(name, source, state() / "downloads", stage.params.maximum_bytes):
        if row is None:
            counts[f"too_long/{name}"] += 1
        else:
            yield row


if __name__ == "__main__":
    run_stage("fetch", fetch)
