"""Claims of papers about prompts: a difference is paired by row, and what is not there is not judged."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import shots_results
from benchmarks.shots_results import Claim
from jokbo.prompting.shots import Outcome, Settings

ROWS = 400
HARD = np.random.default_rng(1).random(ROWS)  # of each row: it is right where this is below a model's skill
SKILL = {"base": 0.5, "smollm2": 0.6, "random": 0.45}


def left(system: str, k: int, seed: int = 1, skill: float | None = None) -> dict[str, Any]:
    """Return a row as the benchmark leaves it."""
    right = [*map(int, (skill or SKILL[system]) > HARD)]
    names = ("sum", "token", "character", "unconditional", "calibrated")
    outcome = Outcome(Settings(k, seed), dict.fromkeys(names, right), [k] * ROWS, 0)
    about = {"title": system, "pretrained": "text", "parameters": 1000, "majority": 0.5}
    return {
        "task": "sentiment",
        "system": system,
        "seconds": 1.0,
        "machine": "a machine",
        **about,
        **outcome.row(),
    }


def test_a_difference_is_paired_by_row() -> None:
    """The harder rows are wrong for both models: its error is that of the difference, far below that of either."""
    claim = Claim("better", "", "sentiment", [(1, ("smollm2", 0, "sum")), (-1, ("base", 0, "sum"))])
    found = shots_results.difference([left("smollm2", 0), left("base", 0)], claim)
    apart = ((HARD < 0.6) & (HARD >= 0.5)).astype(float)
    assert found is not None
    assert found.value == pytest.approx(apart.mean())
    assert found.error == pytest.approx(apart.std() / math.sqrt(ROWS), rel=0.05)


def test_what_is_asked_without_examples_is_compared_with_every_seed() -> None:
    claim = Claim("gains", "", "sentiment", [(1, ("base", 16, "sum")), (-1, ("base", 0, "sum"))])
    rows = [left("base", 0), *(left("base", 16, seed, skill) for seed, skill in ((1, 0.6), (2, 0.7)))]
    found = shots_results.difference(rows, claim)
    assert found is not None
    assert found.value == pytest.approx(
        np.mean([(skill > HARD).mean() for skill in (0.6, 0.7)]) - (HARD < 0.5).mean()
    )


def test_what_is_not_there_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Not measured yet" in shots_results.section()
    shots_results.ROWS.parent.mkdir(parents=True)
    rows = [left(system, 0) for system in SKILL]
    shots_results.ROWS.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = shots_results.section()
    assert f"{100 * (HARD < 0.6).mean():.1f} (" in page
    (zero_shot,) = [
        line for line in page.splitlines() if "over random weights" in line and "sentiment" in line
    ]
    assert zero_shot.endswith("| seen |")
    (few_shot,) = [line for line in page.splitlines() if "help: 16 over none" in line and "sentiment" in line]
    assert few_shot.endswith("| not measured |")
    assert shots_results.FIGURE.read_text().count("<svg") == 1
