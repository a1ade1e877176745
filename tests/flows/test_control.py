"""`python -m flows.control`: runs in processes of their own, rows, MLflow, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchmarks import control as page
from flows import control
from jokbo.control import runs, settings
from jokbo.runtime.tracking import EXPERIMENT
from tests.conftest import as_a_user

PARAMS = """
seeds: [1, 2]
last_episodes: 5
random_episodes: 10
hidden_sizes: [8]
tasks:
  odd: {environment: "tests.control.odd:Odd-v0", steps: 512}
algorithms:
  a3c: {kind: a3c, workers: 2, segment: 16, learning_rate: 0.01, decay: 0.99, epsilon: 0.1, discount: 0.9,
        value_coefficient: 0.5, entropy_coefficient: 0.01, rest_steps: 256}
  ppo: {kind: ppo, environments: 2, horizon: 32, epochs: 2, minibatch: 32, learning_rate: 0.01, discount: 0.9,
        gae_lambda: 0.9, value_coefficient: 0.5, entropy_coefficient: 0.0, surrogates: [{kind: none}]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with settings of runs of a second each."""
    as_a_user(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("control").mkdir()
    settings.FILE.write_text(PARAMS)
    return tmp_path


def run(*options: str) -> int:
    """The exit status of the command."""
    with pytest.raises(SystemExit) as ended:
        control.app([*options])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_every_run_has_its_row_and_is_done_once(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--processes", "2") == 0
    every = runs.all_runs(settings.load(), folder / ".jokbo/control")
    rows = [each.found() for each in every]
    assert [row["seed"] for row in rows if row] == [1, 1, 2, 2]
    assert not list(folder.glob(".jokbo/control/*/checkpoint.pt"))
    kept = json.loads(control.TABLE.read_text())
    assert len(kept["rows"]) == 4
    assert kept["measured"]["machine"]
    said = capfd.readouterr().out
    assert "control 4/4" in said
    assert "Clipping" not in said

    written = control.TABLE.read_bytes()
    assert run() == 0  # nothing is left to do, and the table is the same
    assert "control 1/" not in capfd.readouterr().out
    assert control.TABLE.read_bytes() == written

    client = MlflowClient(f"sqlite:///{folder / '.jokbo/mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    (parent,) = [each for each in found if each.data.tags["stage"] == "control"]
    below = [each for each in found if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(below) == 4
    assert {each.info.status for each in found} == {"FINISHED"}
    assert {each.data.params["seed"] for each in below} == {"1", "2"}
    earned = {each.data.tags["mlflow.runName"]: each.data.metrics["return"] for each in below}
    assert earned == {each.job.name: row["return"] for each, row in zip(every, rows, strict=True) if row}

    (folder / "docs/results").mkdir(parents=True)
    assert "control.md" in page.written()
    assert "odd, tests.control.odd:Odd-v0, 512 steps" in page.PAGE.read_text()


def test_a_run_that_fails_leaves_the_others(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = '  nan: {environment: "tests.control.odd:Nan-v0", steps: 512}\n'
    text = PARAMS.replace("algorithms:\n", f"{other}algorithms:\n")
    settings.FILE.write_text(text.replace("[1, 2]", "[3, 4]"))
    assert run("--processes", "2") == 2
    said = capfd.readouterr()
    assert said.out.count("failed: tests.control.odd:Nan-v0: it gave the reward nan: correct it") == 4
    assert "4 runs failed, as said above; run again to do them alone" in said.err
    assert len(list(folder.glob(".jokbo/control/*/row.json"))) == 4
    assert not control.TABLE.exists()


def test_what_is_wrong_is_one_line_and_nothing_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--last") == 2
    assert capsys.readouterr().err == (
        "jokbo: .jokbo/control: no run of control/params.yaml has ended: leave --last out\n"
    )
    settings.FILE.write_text(PARAMS.replace("seeds:", "seed:"))
    assert run() == 2
    assert "control/params.yaml: seed is not a known key: did you mean seeds?" in capsys.readouterr().err
    assert run("--params", "nowhere.yaml") == 2
    assert "nowhere.yaml: no such file" in capsys.readouterr().err
    assert not list(folder.rglob("row.json"))
