"""The miniature's chain with people who compare what its policy wrote: it waits for them, and goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jokbo.data.tables import open_splits
from jokbo.preferences.batch import read_votes
from tests.support import miniature
from tests.support.labels import label_all, served

pytestmark = pytest.mark.slow
PEOPLE = ["ann", "bo"]
FILM: dict[str, Any] = {
    "kind": "people",
    "prompts": 12,
    "responses_per_prompt": 2,
    "ask": "pairs",
    "temperature": 1.0,
    "labels_per_item": len(PEOPLE),
    "held_out": 0.3,
    "votes": "all",
}
VOTES = "data/local/labels/film/votes.jsonl"


def set_seed(project: Path, seed: int) -> None:
    tree = miniature.params()
    tree["pretrain"]["start"]["context"] = (
        256  # what a policy of few steps writes is many tokens when read again
    )
    tree["preferences"] = {"seed": seed, "labellers": {"film": FILM}}
    tree["distill"] = tree["reward"] = {"kind": "none"}
    training = {**tree["finetune"]["policy"]["training"], "steps": 4, "batch_size": 4}
    tree["align"] = {"kind": "dpo", "seed": 1, "beta": 0.5, "training": training}
    with open(project / "params.yaml", "w") as file:
        YAML().dump(tree, file)


def waits(project: Path) -> str:
    """The one line by which the chain stops at the stage."""
    result = miniature.run(project, "dvc", "repro", "preferences")
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("jokbo: preferences.labellers")]
    assert "exited with 75" in result.stderr
    assert "Traceback" not in result.stderr
    return line


def test_the_chain_waits_for_people_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = miniature.build(tmp_path / "miniature")
    set_seed(project, 1)
    said = waits(project)
    items = json.loads((project / "data/local/labels/film/batch.json").read_text())["items"]
    needed = len(items) * len(PEOPLE)
    assert f"{needed} of {needed} labels are missing: people give them on the page of `jokbo label`" in said

    monkeypatch.chdir(project)
    with served() as (process, link):
        label_all(link, "ann", [])
    with served() as (process, link):  # killed in between: what ann said is there
        label_all(link, "bo", [])
        process.terminate()
        process.wait()
    assert len(read_votes(project / VOTES)) == needed

    result = miniature.run(project, "dvc", "repro", "report")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "'prepare' didn't change, skipping" in result.stdout
    table = open_splits(project / "data/preferences")
    rows = [*table["train"], *table["test"]]
    assert len(rows) == needed
    assert {row["labeller"] for row in rows} == set(PEOPLE)
    assert {row["by_policy"] for row in rows} == {True}
    counts = json.loads((project / "metrics/preferences.json").read_text())["labellers"]["film"]
    assert (counts["kind"], counts["train"] + counts["test"]) == ("people", needed)

    page = (project / "reports/report.html").read_text()
    assert "of <b>film</b>, made by people who compared responses of the supervised policy" in page

    set_seed(project, 2)
    said = waits(project)
    assert f"({needed} votes are of other responses, and do not count)" in said
