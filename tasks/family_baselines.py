"""What the family's systems are compared with. `python -m tasks.family_baselines`"""

from __future__ import annotations

import json

from jokbo.comparison.baselines import measured
from jokbo.comparison.search import parted
from jokbo.runtime.files import write_text
from tasks.frame.paths import FAMILY_DATA, FAMILY_RIGHT
from tasks.frame.records import write_metrics
from tasks.frame.stage import Stage, leads, run_stage


def family_baselines(stage: Stage) -> None:
    metrics, texts = parted(measured(FAMILY_DATA, stage.params, stage.compute, stage.checkpoints))
    if leads():
        write_text(FAMILY_RIGHT / "baselines.json", json.dumps(texts) + "\n")
    write_metrics(stage, metrics)


if __name__ == "__main__":
    run_stage("family_baselines", family_baselines, parallel=True)
