"""`python -m benchmarks.ppo`: the parameters of each run are right, and its table says what the runs came to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ppo
from jokbo import params

SHIPPED = Path(__file__).parents[2] / "params.yaml"


@pytest.mark.parametrize("switch", ppo.SWITCHES)
def test_a_run_differs_in_its_seed_and_its_switch_alone(switch: str) -> None:
    own = params.read(SHIPPED)
    own["align"]["value_lambda"] = 0.5  # of a user, which no run has
    made = ppo.switched(own, switch, 7)
    assert params.checked(made, switch).align.seed == 7
    differs = {key for key in made["align"] if made["align"][key] != {**own["align"], **ppo.OFF}[key]}
    assert differs == {"seed", *ppo.SWITCHES[switch]}
    assert {key for key in made if made[key] != own[key]} == {"align"}


def finished(switch: str, seed: int, good: float, matched: int) -> None:
    folder = ppo.folder_of(switch, seed) / "metrics"
    folder.mkdir(parents=True)
    numbers = {"kl": 2.0, "length": 20.0, "distinct_2": 0.4, "perplexity": 30.0}
    by_judge = {"good": good, "win_rate": 0.6, "length_matched_win_rate": 0.55, "length_matched": matched}
    evaluate: dict[str, Any] = {
        "headline": "own",
        "models": {"supervised": numbers | {"distinct_2": 0.5}, "aligned": numbers},
        "judges": {"own": {"probabilities": True, "models": {"supervised": by_judge, "aligned": by_judge}}},
    }
    (folder / "evaluate.json").write_text(json.dumps(evaluate))
    (folder / "align.json").write_text(json.dumps({"explained_variance": {"first": 0.0, "last": 0.25}}))


def test_a_row_is_a_switch_and_has_mean_least_and_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, good in ((1, 0.8), (2, 0.9)):
        finished("none", seed, good, 100)
    finished("value-lambda-1", 1, 0.7, 0)
    rows = {
        switch: dict(zip(["seeds", *ppo.COLUMNS], cells, strict=True))
        for switch, cells in ppo.rows([1, 2, 3]).items()
    }
    assert list(rows) == ["none", "value-lambda-1"]
    assert rows["none"]["seeds"] == "2"
    assert rows["none"]["good"] == "0.850 (0.800 to 0.900)"
    assert rows["none"]["distinct_2"] == "0.800 (0.800 to 0.800)"
    assert rows["none"]["explained_variance"].startswith("0.250")
    assert rows["value-lambda-1"]["length_matched_win_rate"] == "-"
