"""Fetch the raw data sets, which are pinned by hash or commit. `python -m tasks.fetch`"""

from __future__ import annotations

import json
import sys
from typing import Any

from jokbo.data.fetch.formats import DOCUMENT, RAW_SCHEMA
from jokbo.data.fetch.left_out import TOO_LONG, Read
from jokbo.data.fetch.sources import read_source, reader_of
from jokbo.data.outputs import write_shards
from jokbo.runtime.files import atomic_write_folder
from jokbo.runtime.secrets import hidden_in
from tasks.frame.paths import RAW
from tasks.frame.records import write_metrics
from tasks.frame.stage import Stage, run_stage, state


def fetch(stage: Stage) -> None:
    about: dict[str, dict[str, Any]] = {}
    metrics: dict[str, int] = {}
    with atomic_write_folder(RAW) as raw:
        for name, source in stage.params.sources.items():
            read = Read()
            found = read_source(name, source, state() / "downloads", stage.params.maximum_bytes)
            metrics[f"rows/{name}"] = write_shards(read.taken(found), raw / name, RAW_SCHEMA)
            metrics[f"too_long/{name}"] = read.left_out[TOO_LONG]
            metrics[f"files_passed_over/{name}"] = read.files()
            for source_name, rows in read.sources.items():
                metrics[f"rows_of/{source_name}"] = metrics.get(f"rows_of/{source_name}", 0) + rows
            about[name] = hidden_in(source.model_dump()) | {
                "document": DOCUMENT[reader_of(source)],
                "rows": dict(read.sources),
                "left_out": dict(read.left_out),
                "locations": read.locations,
            }
            if line := read.line():
                print(f"jokbo: fetch.sources.{name}: {line}", file=sys.stderr, flush=True)
        (raw / "sources.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    write_metrics(stage, metrics)


if __name__ == "__main__":
    run_stage("fetch", fetch)
