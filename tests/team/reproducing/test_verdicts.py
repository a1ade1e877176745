"""What a rerun is, by what two runs left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jokbo.runtime.run_record import RunRecord
from jokbo.team.reproducing.verdicts import (
    Found,
    Outcome,
    Where,
    departure,
    differing_metrics,
    judged,
    of_environments,
    worst,
)

SAME = [[1, "b1", "l1", "w1"], [2, "b2", "l2", "w2"], [8, "b8", "l8", "w8"]]
INTERVAL = {"value": 0.8, "low": 0.7, "high": 0.9, "standard_error": 0.05, "units": 10}


def run(marks: list[list[Any]], curves: Path | None = None, **changes: Any) -> Found:
    given: dict[str, Any] = {
        "params": {"pretrain": {"seed": 1}},
        "deps": {"data/tokens": "d", "jokbo/training": "c"},
        "outs": {"models/base": "m", "models/base.ancestry.json": "a"},
        "environments": [{"threads": 1, "packages": {"numpy": "2.0"}}],
        **changes,
    }
    metrics = given.pop("metrics", {"loss": 1.0})
    record = RunRecord(stage="pretrain", key="k", folder=".", run="r", commit="c", changes={}, **given)
    return Found(record, {"pretrain": marks}, metrics, curves)


def other(mark: int, *kinds: int) -> list[list[Any]]:
    """The marks with other hashes from one mark on: of the first step these kinds, then of all."""
    marks = [list(each) for each in SAME]
    for place in range(mark, len(marks)):
        for kind in kinds if place == mark else (1, 2, 3):
            marks[place][kind] = "other"
    return marks


def test_the_same_outputs_are_identical_whatever_the_ancestry_says_of_the_environment() -> None:
    now = run(
        SAME, outs={"models/base": "m", "models/base.ancestry.json": "other"}, environments=[{"threads": 2}]
    )
    assert judged(run(SAME), now).outcome == Outcome.IDENTICAL
    assert judged(run(SAME), run(SAME, outs={})).outs == ["models/base"]


@pytest.mark.parametrize(
    ("marks", "where"),
    [
        (other(0, 1, 2, 3), Where("pretrain", 1, 1, "batch")),
        (other(1, 2, 3), Where("pretrain", 2, 2, "loss")),
        (other(1, 3), Where("pretrain", 2, 2, "parameters")),
        (other(2, 2, 3), Where("pretrain", 3, 8, "loss")),
        (SAME, None),
    ],
)
def test_the_first_mark_that_differs_says_what_did_first(marks: list[list[Any]], where: Where | None) -> None:
    assert departure(run(SAME), run(marks)) == where


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ("pretrain,5,1.0,0.25", Where("pretrain", 5, 5, "parameters")),
        ("pretrain,5,1.5,0.5", Where("pretrain", 5, 5, "loss or parameters")),
        ("pretrain,3,1.5,0.5", Where("pretrain", 3, 3, "loss")),
    ],
)
def test_the_curves_tell_the_step_between_two_marks(tmp_path: Path, row: str, where: Where) -> None:
    rows = [f"pretrain,{step},1.0,0.5" for step in range(1, 9)]
    changed = [row if line.split(",")[1] == row.split(",")[1] else line for line in rows]
    files = []
    for name, lines in {"before.csv": rows, "now.csv": changed}.items():
        files.append(tmp_path / name)
        files[-1].write_text("\n".join(["part,step,loss,learning_rate", "else,5,9,9", *lines]) + "\n")
    assert departure(run(SAME, files[0]), run(other(2, 2, 3), files[1])) == where


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({}, ["unknown"]),
        ({"params": {"pretrain": {"seed": 2}}}, ["parameters: pretrain.seed: 1 -> 2"]),
        ({"deps": {"data/tokens": "x", "jokbo/training": "c"}}, ["data: data/tokens is another"]),
        ({"deps": {"data/tokens": "d", "jokbo/training": "x"}}, ["code: jokbo/training"]),
        (
            {"environments": [{"threads": 2, "packages": {"numpy": "2.1"}}]},
            ["environment: threads: 1 -> 2", "environment: packages.numpy: 2.0 -> 2.1"],
        ),
    ],
)
def test_a_cause_is_what_the_records_say_differently(changes: dict[str, Any], cause: list[str]) -> None:
    now = run(other(1, 2, 3), outs={"models/base": "x"}, metrics={"loss": 2.0}, **changes)
    assert judged(run(SAME), now).cause == cause


def test_threads_make_no_other_batch() -> None:
    now = run(other(0, 1), outs={}, metrics={"loss": 2.0}, environments=[{"threads": 2, "packages": {}}])
    assert judged(run(SAME), now).cause == ["environment: packages.numpy: 2.0 -> none"]


@pytest.mark.parametrize(
    ("before", "now", "differ"),
    [
        ({"loss": 1.0}, {"loss": 1.009}, False),
        ({"loss": 1.0}, {"loss": 1.02}, True),
        ({"accuracy": INTERVAL}, {"accuracy": {**INTERVAL, "value": 0.85}}, False),
        ({"accuracy": INTERVAL}, {"accuracy": {**INTERVAL, "value": 0.95, "high": 0.99}}, True),
        ({"accuracy": INTERVAL}, {"accuracy": {**INTERVAL, "value": 0.66, "low": 0.6}}, False),
        ({"accuracy": INTERVAL}, {"accuracy": {**INTERVAL, "value": 0.64, "low": 0.6}}, True),
        (
            {"good": 0.8, "good_low": 0.7, "good_high": 0.9},
            {"good": 0.72, "good_low": 0.6, "good_high": 0.8},
            False,
        ),
        ({"kind": "ppo"}, {"kind": "dpo"}, True),
        ({"loss": 1.0}, {}, True),
    ],
)
def test_metrics_are_the_same_within_intervals_or_a_hundredth(before: Any, now: Any, differ: bool) -> None:
    assert bool(differing_metrics(before, now)) == differ


def test_a_rerun_whose_metrics_are_alike_is_the_same_within_tolerance() -> None:
    now = run(other(1, 2, 3), outs={"models/base": "x"}, metrics={"loss": 1.001})
    found = judged(run(SAME), now)
    assert (found.outcome, found.where) == (Outcome.SAME, Where("pretrain", 2, 2, "loss"))
    assert judged(run(SAME), run(SAME, outs={}, metrics=None)).outcome == Outcome.DIFFERS
    assert worst([judged(run(SAME), run(SAME)), found]) == Outcome.SAME


def test_what_only_one_environment_tells_is_no_difference() -> None:
    assert of_environments({"threads": 1, "capability": "AVX2"}, {"threads": 1, "variables": {}}) == []
