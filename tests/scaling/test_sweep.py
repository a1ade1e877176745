"""Which runs a sweep has, what identifies them, the rates that a search gives, and what stays when one fails."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import scaling as flow
from jokbo import params
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run
from jokbo.scaling import results, runs, sweep
from jokbo.scaling import text as texts
from jokbo.scaling.run import Planned, Text, trained
from tests.conftest import ROOT
from tests.scaling import planted
from tests.scaling.conftest import shipped
from tests.support.closure import closure, graph

NO_ROW = {
    "data/counts.py",
    "evaluation/results.py",
    "runtime/files.py",
    "training/job.py",
    "scaling/__init__.py",
}


def row(size: str, rate: float, loss: float) -> dict[str, Any]:
    return {"size": size, "learning_rate": rate, "loss": loss}


def test_the_shipped_sweep_has_thirty_runs_or_more(text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    own = shipped().scaling
    monkeypatch.setattr(Text, "open", lambda self, split: type("Corpus", (), {"total_tokens": 9_600_000}))
    found = sweep.planned(own, text, dict.fromkeys(own.sizes, 0.01))
    assert len(found) >= 30
    assert len({each.name for each in found}) == len(found)
    parameters = sweep.sizes(own, text)
    for each in found:
        spent = 6 * parameters[each.size]["parameters"] * each.steps * own.batch_size * own.context
        assert min(abs(spent / budget - 1) for budget in own.budgets) < 0.02


def test_a_budget_that_pays_nobody_is_one_line(small: params.ScalingParams, text: Text) -> None:
    own = small.scaling.model_copy(update={"budgets": [1.0]})
    with pytest.raises(InputError, match=r"scaling\.budgets: none pays any size for 4 to"):
        sweep.planned(own, text, {"small": 0.1, "large": 0.1})


def test_the_best_rate_is_a_power_of_the_hidden_size(small: params.ScalingParams) -> None:
    """Parabolas over log rate, lowest at 0.008 for 8 and 0.004 for 16: half where the size is twice."""
    tried = [0.0007, 0.002, 0.006]
    best = {"small": 0.004, "large": 0.002}
    rows = [row(size, rate, 3 + np.log(rate / best[size]) ** 2) for size in best for rate in tried]
    assert sweep.rates(small.scaling, rows) == pytest.approx(best, rel=1e-2)
    at_an_end = [row(size, rate, rate) for size in best for rate in tried]
    assert set(sweep.rates(small.scaling, at_an_end).values()) == {0.0007}
    with pytest.raises(InputError, match="learning rates of large: 2 of 3 runs are there"):
        sweep.rates(small.scaling, rows[:5])


def test_the_code_that_identifies_a_run_is_all_that_makes_its_row() -> None:
    made_by = {path.removeprefix("jokbo/") for path in closure("jokbo.scaling.run", graph())} - NO_ROW
    said = [path for path in made_by if not any(path.startswith(code) for code in sweep.CODE)]
    assert said == []
    assert all((sweep.LIBRARY / path).exists() for path in sweep.CODE)


def test_a_run_is_identified_by_what_it_is_made_of_alone(small: params.ScalingParams) -> None:
    own, run = small.scaling, Planned("a", "small", 9, 0.1)
    key = sweep.key(run, own, "digest")
    same = own.model_copy(update={"budgets": [9e9], "bootstrap": 99, "least_steps": 1})
    assert sweep.key(Planned("b", "small", 9, 0.1), same, "digest") == key
    others = [
        sweep.key(Planned("a", "small", 10, 0.1), own, "digest"),
        sweep.key(Planned("a", "large", 9, 0.1), own, "digest"),
        sweep.key(Planned("a", "small", 9, 0.2), own, "digest"),
        sweep.key(run, own, "another"),
        sweep.key(run, own.model_copy(update={"seed": 2}), "digest"),
    ]
    assert len({key, *others}) == 6


def test_the_text_is_made_once(documents: Path, tmp_path: Path) -> None:
    chain, tokenizer = params.load(ROOT / "params.yaml"), shipped().scaling.tokenizer
    assert tokenizer is not None
    made = texts.of_documents(documents, tokenizer, chain.tokenize, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert before
    assert texts.digest(texts.of_documents(documents, tokenizer, chain.tokenize, tmp_path)) == texts.digest(
        made
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == before
    with pytest.raises(InputError, match="not there: run `dvc repro tokenize`"):
        texts.of_chain(tmp_path / "none", tmp_path / "none")


def test_one_failed_run_loses_no_other(
    small: params.ScalingParams, text: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """The task of a run that diverges ends as Failed, in one line; the others leave their rows, for good."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setattr(params, "load_scaling", lambda: small)
    runs_of = [
        Planned("good", "small", 6, 0.01),
        Planned("wild", "small", 20, 1e30),
        Planned("other", "large", 6, 0.01),
    ]
    works = [
        flow.Work(
            asdict(each), sweep.key(each, small.scaling, "digest"), str(text.corpora), str(text.tokenizer), ""
        )
        for each in runs_of
    ]
    states = [flow.run.fn(work) for work in works]
    assert [state.is_completed() for state in states] == [True, False, True]
    assert states[1].message.startswith("wild: ")
    assert "\n" not in states[1].message
    assert [flow.row_of(work) is not None for work in works] == [True, False, True]
    assert [row["run"] for row in flow.rows_of(works)] == ["good", "other"]
    left = (tmp_path / flow.FOLDER / works[0].key / "row.json").stat().st_mtime_ns
    flow.run.fn(works[0])
    assert (tmp_path / flow.FOLDER / works[0].key / "row.json").stat().st_mtime_ns == left


def test_what_a_sweep_leaves_is_what_the_command_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: Text, small: params.ScalingParams
) -> None:
    monkeypatch.chdir(tmp_path)
    own = small.scaling.model_copy(update={"bootstrap": 20})
    of_run = trained(Planned("a", "small", 20, 0.01), small, text, tmp_path / "a", Run())
    rows = []
    for number, each in enumerate(planted.rows(0, 0.001, planted.SIZES[::2], planted.TOKENS[::3])):
        half = each["tokens"] / 2
        marks = [{"tokens": half, "loss": planted.loss(each["parameters"], half) + 0.1, "noise_scale": None}]
        of_planted = {
            "run": f"run {number}",
            "marks": marks,
            "flops": 6 * each["parameters"] * each["tokens"],
        }
        rows.append(
            {**of_run, **of_planted, **each, "parameters_without_embeddings": each["parameters"] * 0.9}
        )
    lines = results.write(own, rows, [], {"wild": "diverged"})
    assert "runs" in lines[-1]
    found, ignored = runs.read(results.RUNS)
    assert len(found.results) == len(rows)
    assert found.are_curves
    assert "learning_rate" in ignored
    table = results.load(results.TABLE)
    assert table["runs"] == len(rows)
    again = results.fit_of(found, 20, own.seed, "again")
    assert (
        again["counts"]["parameters"]["chinchilla"]["alpha"]
        == table["counts"]["parameters"]["chinchilla"]["alpha"]
    )
    schedules = {row["claim"]: row["verdict"] for row in table["claims"]}
    assert schedules["On its way a run is worse than one whose schedule ends there"] == "seen"
