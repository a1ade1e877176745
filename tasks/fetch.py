"""Fetch the raw data sets, which are pinned by hash or commit. `python -m tasks.fetch`"""

from __future__ import annotations

import sys

from jokbo import params
from jokbo.data.counts import KNOWN, FetchCounts, Fetched, FetchedTable, StartingModel
from jokbo.data.fetch.sources import read_source, reader_of
from jokbo.data.files.formats import DOCUMENT
from jokbo.data.files.left_out import TOO_LONG, Read
from jokbo.data.files.rows import RAW_SCHEMA
from jokbo.data.tables import write_shards
from jokbo.runtime.files import atomic_write_folder
from jokbo.runtime.secrets import hidden_in
from tasks.frame.paths import RAW, SOURCES, START
from tasks.frame.records import say, write_metrics
from tasks.frame.stage import Stage, run_stage, state


def fetch(stage: Stage) -> None:
    bring_start(stage)
    tables: dict[str, FetchedTable] = {}
    counts = FetchCounts({}, {}, {}, {}, {})
    with atomic_write_folder(RAW) as raw:
        for name, source in stage.params.sources.items():
            read = Read()
            found = read_source(name, source, state() / "downloads", stage.params.maximum_bytes)
            counts.rows[name] = write_shards(read.taken(found), raw / name, RAW_SCHEMA)
            counts.too_long[name] = read.left_out[TOO_LONG]
            counts.files_passed_over[name] = read.files()
            counts.no_conversations[name] = read.conversations()
            for source_name, rows in read.sources.items():
                counts.rows_of[source_name] = counts.rows_of.get(source_name, 0) + rows
            settings, document = hidden_in(source.model_dump()), DOCUMENT[reader_of(source)]
            tables[name] = FetchedTable(
                settings, document, dict(read.sources), dict(read.left_out), read.locations
            )
            if line := read.line():
                print(f"jokbo: fetch.sources.{name}: {line}", file=sys.stderr, flush=True)
        Fetched(tables).save(raw / SOURCES)
    write_metrics(stage, counts)


def bring_start(stage: Stage) -> None:
    """Save the model that pretrain.start adopts, before any text is fetched; or that there is none."""
    start = params.load().pretrain.start
    if start.kind == "scratch":
        with atomic_write_folder(START) as folder:
            StartingModel("scratch").save(folder / KNOWN)
        return
    from jokbo.start import adopt  # it needs torch, which takes seconds to import

    known = adopt.adopt(start, state() / "downloads", START)
    found = f"{known.network} of {known.parameters:,} parameters from {known.source}, licence {known.licence}"
    say(stage, [f"pretrain.start: {found}", *(f"pretrain.start: {change}" for change in known.changed)])


if __name__ == "__main__":
    run_stage("fetch", fetch)
