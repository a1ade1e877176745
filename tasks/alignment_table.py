"""PPO and its baselines in one table: what each cost, and how its responses to the held-out prompts are judged.

`python -m tasks.alignment_table`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jokbo.alignment import compared
from jokbo.data.tables import open_splits, open_table
from jokbo.evaluation.judges.judge import Given
from jokbo.evaluation.judges.kinds import JUDGES
from jokbo.reporting.publish import publish, read, read_curves
from jokbo.runtime.files import read_json
from tasks.frame.paths import (
    ABOVE,
    ALIGNMENT,
    BASELINE_RESPONSES,
    BASELINE_TABLE,
    DOCUMENTS,
    JUDGE_TEXTS,
    METRICS,
    PLOTS,
)
from tasks.frame.records import write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Alignment

REMEDY = "run `make alignment`"
BEST_OF_N = "best_of_n"

Said = Mapping[str, Sequence[Mapping[str, Any]]]


def alignment_table(stage: Stage[Alignment]) -> None:
    comparison = found(stage.params)
    pages = {
        BASELINE_TABLE: compared.markdown(comparison),
        BASELINE_TABLE.with_suffix(".html"): compared.html(comparison),
    }
    publish(stage.run, pages, compared.charts(comparison["curves"]), [compared.table(comparison)])
    write_metrics(stage, comparison)


def found(params: Alignment) -> dict[str, Any]:
    """Return all that is shown; see jokbo/alignment/compared.py. InputError names a file that is missing."""
    said = {
        name: [json.loads(line) for line in read(BASELINE_RESPONSES / f"{name}.jsonl", REMEDY).splitlines()]
        for name in params.baselines
    }
    own = ALIGNMENT.name
    measured = {name: read_json(METRICS / own / f"{name}.json", REMEDY) for name in said}
    curves = {name: compared.curve(read_curves(PLOTS / own / f"{name}.csv", REMEDY)[name]) for name in said}
    judged, about = _judged(params, said)
    trained = [name for name, settings in params.baselines.items() if settings.kind != BEST_OF_N]
    at_time = compared.at_time(curves, trained)
    rows = compared.rows(measured, said, judged)
    return {
        "rows": [{**row, "at_time": at_time.get(row["name"])} for row in rows],
        "curves": curves,
        "at_time": min((curves[name]["seconds"][-1] for name in trained), default=None),
        "judge": about,
    }


def _judged(params: Alignment, said: Said) -> tuple[dict[str, np.ndarray] | None, str | None]:
    """Return what the judge of the headline says of each response, and who that is; None without one."""
    if (name := params.evaluate.headline) is None:
        return None, None
    settings = params.evaluate.judges[name]
    given = Given(
        name=name,
        responses={method: [row["response"] for row in own] for method, own in said.items()},
        rewards={method: np.array([row["reward"] for row in own]) for method, own in said.items()},
        set_aside=lambda: open_table(ABOVE / JUDGE_TEXTS),
        test=lambda: open_splits(ABOVE / DOCUMENTS)["test"],
    )
    told = JUDGES[settings.kind](settings, given)
    if not told.probabilities:  # scores of no scale of their own say who wins, and of nobody that he is good
        return None, f"{name}, whose scores are the rewards"
    return dict(told.scores), name


if __name__ == "__main__":
    run_stage("alignment_table", alignment_table, section="alignment")
