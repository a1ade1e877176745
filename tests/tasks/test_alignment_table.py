"""The table of PPO and its baselines, on made-up trainings and responses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jokbo.alignment import compared
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run
from tasks import alignment_table
from tasks.frame import paths
from tasks.frame.paths import BASELINE_RESPONSES, BASELINE_TABLE
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import Stage

KINDS = {"supervised": "best_of_n", "ppo": "ppo", "rloo": "reinforce", "dpo": "dpo"}
SECONDS = {"supervised": 1.0, "ppo": 4.0, "rloo": 2.0, "dpo": 3.0}  # an iteration
PROMPTS = 20


def stage(name: str, headline: str | None = "rewards") -> Stage[Any]:
    judges = {"rewards": SimpleNamespace(kind="reward")}
    params = SimpleNamespace(
        baselines={name: SimpleNamespace(kind=kind) for name, kind in KINDS.items()},
        evaluate=SimpleNamespace(headline=headline, judges=judges),
    )
    return Stage(name, params, None, "key", Run(), Path("none"))  # pyright: ignore[reportArgumentType]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which all baselines have run. DPO's training tells of no reward."""
    monkeypatch.chdir(tmp_path)
    BASELINE_RESPONSES.mkdir()
    for folder in (paths.METRICS / "alignment", paths.PLOTS / "alignment"):
        folder.mkdir(parents=True)
    for number, (name, kind) in enumerate(KINDS.items()):
        rows = [
            {"step": i, "samples": 64 * i, "seconds": SECONDS[name] * i}
            | ({} if kind == "dpo" else {"reward": number + i / 10, "kl": 0.1 * i})
            for i in range(1, 11)
        ]
        write_curves(stage(f"alignment@{name}"), {name: rows})
        last = {key: rows[-1][key] for key in ("samples", "seconds")}
        write_metrics(stage(f"alignment@{name}"), {"kind": kind, **last, "reward": 0.0})
        said = [
            {
                "prompt": f"prompt {i}",
                "response": f"said by {name if i % 2 else 'all'} of {i}",
                "tokens": 5 + i,
                "reward": number + i / PROMPTS,
                "kl": 0.5,
            }
            for i in range(PROMPTS)
        ]
        (BASELINE_RESPONSES / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))


def test_rows_are_of_the_same_prompts_with_their_errors(project: None) -> None:
    found = alignment_table.found(stage("alignment_table").params)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == list(KINDS)
    assert rows["ppo"]["reward"]["value"] == pytest.approx(1 + 9.5 / PROMPTS)
    assert rows["ppo"]["reward"]["standard_error"] > 0
    assert rows["rloo"]["samples"] == 640
    assert rows["rloo"]["tokens"] == pytest.approx(14.5)
    assert 0 < rows["rloo"]["distinct_2"] < 1
    assert rows["ppo"]["good"] is None  # the reward model is no judge of what is good


def test_good_is_a_share_of_responses_and_wins_are_over_the_first_prompt_by_prompt(project: None) -> None:
    said = {name: [{"response": "a b", "reward": 0.0, "kl": 0.0, "tokens": 2}] * 4 for name in ("one", "two")}
    measured = {name: {"kind": "ppo", "samples": 1, "seconds": 1.0} for name in said}
    judged = {"one": np.array([0.9, 0.4, 0.2, 0.6]), "two": np.array([0.95, 0.6, 0.2, 0.1])}
    one, two = compared.rows(measured, said, judged)
    assert (one["good"]["value"], two["good"]["value"]) == (0.5, 0.5)
    assert (one["wins"]["value"], two["wins"]["value"]) == (0.5, (1 + 1 + 0.5 + 0) / 4)
    cells = compared.table({"rows": [{**two, "at_time": None}], "at_time": None, "judge": "j"}).rows[0]
    assert "50 (" in cells[5]


def test_at_equal_time_each_is_read_where_the_fastest_training_ended(project: None) -> None:
    found = alignment_table.found(stage("alignment_table").params)
    assert found["at_time"] == 20  # of RLOO; best-of-n trains nothing
    at_time = {row["name"]: row["at_time"] for row in found["rows"]}
    assert at_time["ppo"] == pytest.approx(1 + (1 + 2 + 3 + 4 + 5) / 5 / 10)
    assert at_time["rloo"] == pytest.approx(2 + (6 + 7 + 8 + 9 + 10) / 5 / 10)
    assert at_time["dpo"] is None
    assert at_time["supervised"] is None


def test_writes_table_page_and_figures(project: None) -> None:
    alignment_table.alignment_table(stage("alignment_table", headline=None))
    assert BASELINE_TABLE.read_text().count("| rloo |") == 1
    page = BASELINE_TABLE.with_suffix(".html").read_text()
    assert page.count("<svg") == 3
    assert "Reward over responses sampled" in page
    assert json.loads((paths.METRICS / "alignment_table.json").read_text())["judge"] is None


@pytest.mark.parametrize(
    "path",
    [
        BASELINE_RESPONSES / "rloo.jsonl",
        paths.METRICS / "alignment/rloo.json",
        paths.PLOTS / "alignment/rloo.csv",
    ],
)
def test_what_is_missing_is_one_line(project: None, path: Path) -> None:
    path.unlink()
    with pytest.raises(InputError, match="run `make alignment`") as raised:
        alignment_table.found(stage("alignment_table").params)
    assert str(path) in str(raised.value)
