"""What the family's systems are compared with. `python -m tasks.family_baselines`"""

from __future__ import annotations

from jokbo.comparison.baselines import measured
from tasks.frame.paths import FAMILY_DATA
from tasks.frame.records import write_metrics
from tasks.frame.stage import Stage, run_stage


def family_baselines(stage: Stage) -> None:
    write_metrics(stage, measured(FAMILY_DATA, stage.params, stage.compute, stage.checkpoints))


if __name__ == "__main__":
    run_stage("family_baselines", family_baselines, parallel=True)
