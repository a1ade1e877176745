"""Get the raw data sets, pinned. `python -m tasks.fetch`"""

from __future__ import annotations

import json

from jokbo.data.outputs import save_table, whole_directory
from jokbo.data.sources import read_source
from tasks.paths import METRICS, RAW
from tasks.stage import Stage, run_stage, state


def fetch(stage: Stage) -> None:
    metrics = {}
    with whole_directory(RAW) as raw:
        for name, source in stage.params.sources.items():
            table = read_source(name, source, state() / "downloads")
            save_table(table, raw / name)
            metrics[f"rows/{name}"] = table.num_rows
    METRICS.mkdir(exist_ok=True)
    (METRICS / "fetch.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    stage.run.log(metrics)


if __name__ == "__main__":
    run_stage("fetch", fetch)
