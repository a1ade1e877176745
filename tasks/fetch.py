"""Get the raw data sets, pinned. `python -m tasks.fetch`"""

from __future__ import annotations

from jokbo.data.outputs import save_table, whole_directory
from jokbo.data.sources import read_source
from tasks.paths import RAW
from tasks.records import write_metrics
from tasks.stage import Stage, run_stage, state


def fetch(stage: Stage) -> None:
    metrics = {}
    with whole_directory(RAW) as raw:
        for name, source in stage.params.sources.items():
            table = read_source(name, source, state() / "downloads")
            save_table(table, raw / name)
            metrics[f"rows/{name}"] = table.num_rows
    write_metrics(stage, metrics)


if __name__ == "__main__":
    run_stage("fetch", fetch)
