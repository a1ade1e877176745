"""`jokbo shots` and `jokbo eval` as they are typed: tables, JSON, MLflow, and one line for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner, Result

from jokbo.cli import app
from jokbo.exporting import opening
from jokbo.runtime import tracking
from tests.prompting.conftest import ROWS
from tests.prompting.test_harness import MANY, written

Given = Callable[..., Path]
pytestmark = pytest.mark.parametrize("folder", ["llama"], indirect=True, scope="session")


def typed(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if weights are read."""

    def refuse(*_: object) -> None:
        raise AssertionError("the model is opened")

    monkeypatch.setattr(opening, "opened", refuse)


def test_shots(folder: Path, given: Given) -> None:
    words = ("shots", folder, given(question="{{text}} ="), "--k", "0,2", "--seeds", 2)
    table = typed(*words)
    assert table.exit_code == 0, table.output
    assert f"Accuracy on {len(ROWS)} rows" in table.stdout
    found = json.loads(typed(*words, "--json").stdout)
    assert [(row["k"], row["seeds"]) for row in found["k"]] == [(0, 1), (2, 2)]
    accuracy = found["k"][1]["scores"]["sum"]
    assert f"{100 * accuracy['value']:.1f}" in table.stdout


def test_eval(folder: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    written()
    words = ("eval", folder, "--tasks", "reviews", "--include-path", "mine", "--shots", 1)
    found = json.loads(typed(*words, "--json").stdout)["tasks"]["reviews"]
    assert (found["examples"], found["shots"]) == (len(MANY), 1)
    table = typed(*words, "--mlflow")
    assert f"| reviews | acc | {found['scores']['acc']['value']:.4f} |" in table.stdout
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["reviews/acc"] == found["scores"]["acc"]["value"]
    assert run.info.status == "FINISHED"


@pytest.mark.usefixtures("unopened")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--k", "some"), "--k is 'some': write whole numbers with commas"),
        (("--k", "0,-1"), "none below 0"),
        (("--k", "2,2"), "each number once"),
        (("--k", "9"), "9 examples: there are 6 to draw from"),
        (("--limit", "1"), "an interval needs two rows or more"),
    ],
)
def test_shots_that_cannot_be(folder: Path, given: Given, words: tuple[str, ...], said: str) -> None:
    found = typed("shots", folder, given(), *(("--k", "0") if "--k" not in words else ()), *words)
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stderr.count("\n") == 1


@pytest.mark.usefixtures("unopened")
def test_models_and_tasks_that_cannot_be(folder: Path, given: Given, tmp_path: Path) -> None:
    scoring = tmp_path / "scoring"
    scoring.mkdir()
    for file in folder.iterdir():
        (scoring / file.name).write_bytes(file.read_bytes())
    config = json.loads((scoring / "config.json").read_text())
    (scoring / "config.json").write_text(
        json.dumps({**config, "architectures": ["LlamaForSequenceClassification"]})
    )
    written()
    for words, said in (
        (("shots", scoring, given(), "--k", "0"), "it scores texts and writes none"),
        (("eval", scoring, "--tasks", "mine/reviews.yaml"), "it scores texts and writes none"),
        (("shots", tmp_path / "gone", given(), "--k", "0"), "no config.json there"),
        (("eval", folder, "--tasks", " , "), "--tasks is empty"),
        (("eval", folder, "--tasks", "mine/gone.yaml"), "no such file"),
    ):
        found = typed(*words)
        assert found.exit_code == 2
        assert said in found.stderr
        assert found.stderr.count("\n") == 1


def test_without_the_harness(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jokbo.prompting.commands.find_spec", lambda _: None)
    found = typed("eval", folder, "--tasks", "reviews")
    assert found.exit_code == 2
    assert "pip install 'lm-eval[hf]" in found.stderr
