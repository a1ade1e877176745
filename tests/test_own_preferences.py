"""The miniature's chain with answers of a user's own: text without labels, so that nobody judges, preferences from a
file, DPO, no student and no reward model."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM

from jokbo.data.tables import open_splits
from tests.support import miniature
from tests.support.miniature import BAD, GOOD, THINGS
from tests.test_resume import killed_and_resumed

STEPS = 8


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature after one undisturbed run to its report."""
    folder = miniature.build(tmp_path_factory.mktemp("miniature"))
    (folder / "data/local/pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    letters = [{"text": row["text"]} for row in miniature.rows(random.Random(7)) if row["source"] == "imdb"]
    (folder / "data/local/reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in letters))
    with open(folder / "params.yaml", "w") as file:
        YAML().dump(params(), file)
    result = miniature.chain(folder)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def rows() -> list[dict[str, Any]]:
    """Judgements of the beginnings of sentences; every tenth is a tie."""
    made = []
    for i in range(80):
        thing, good, bad = THINGS[i % 8], GOOD[i // 8 % 8], BAD[i // 10]
        responses = [f" {bad} and {bad}.", f" {good} and {good}."]
        choice = "tie" if i % 10 == 9 else 1
        made.append({"prompt": f"In {1900 + i} the {thing} was", "responses": responses, "choice": choice})
    return made


def params() -> dict[str, Any]:
    tree = miniature.params()
    support = {"kind": "file", "form": "choices", "paths": "pairs.jsonl", "held_out": 0.25}
    tree["preferences"] = {"seed": 1, "labellers": {"support": support}}
    tree["fetch"]["sources"] = {
        "letters": tree["fetch"]["sources"]["reviews"] | {"columns": {"text": "text"}}
    }
    tree["prepare"]["splits"] |= {"train": 0.55, "judge": 0.0}
    tree["prepare"]["near_duplicates"]["sources"] = tree["prompts"]["sources"] = ["letters"]
    tree["tokenize"]["mix"]["sources"] = {"letters": 1.0}
    tree["finetune"]["tasks"] = tree["evaluate"]["judges"] = {}
    tree["evaluate"]["headline"] = None
    tree["distill"] = tree["reward"] = {"kind": "none"}
    training = {**tree["finetune"]["policy"]["training"], "steps": STEPS, "batch_size": 8}
    tree["align"] = {"kind": "dpo", "seed": 1, "beta": 0.5, "training": training}
    return tree


def metrics(project: Path, stage: str) -> dict[str, Any]:
    return json.loads((project / f"metrics/{stage}.json").read_text())


def test_the_chain_ends_with_a_report_of_what_there_is(project: Path) -> None:
    page = (project / "reports/report.html").read_text()
    assert "then taught it, by DPO, to continue" in page
    assert "of <b>support</b>, imported from a file" in page
    for absent in ("simulated raters", 'id="student"', "PPO", 'class="continuation distilled"'):
        assert absent not in page.partition("</style>")[2], absent
    assert set(metrics(project, "evaluate")["models"]) == {"base", "supervised", "aligned"}
    assert metrics(project, "evaluate")["student"] == {}
    assert metrics(project, "evaluate")["models"]["aligned"]["reward"] is None
    again = miniature.run(project, "dvc", "repro", "report")
    assert again.stdout.count("didn't change, skipping") == 13


def test_without_a_judge_the_report_says_so_and_has_what_needs_none(project: Path) -> None:
    found = metrics(project, "evaluate")
    assert (found["judges"], found["headline"]) == ({}, None)
    page = (project / "reports/report.html").read_text().partition("</style>")[2]
    assert re.search(
        r"</span>No judge was asked: perplexity is \d+\.\d before alignment, \d+\.\d after</h1>", page
    )
    assert "imdb" not in page
    assert not re.search(r"Judged good|A win is|The judge", page)
    result = json.loads((project / "reports/result.json").read_text())
    assert set(result) == {"kl", "length", "perplexity"}


def test_what_was_left_out_says_so_in_its_place(project: Path) -> None:
    for path, why in (
        ("models/student", "distill.kind is none in params.yaml"),
        ("models/reward", "reward.kind is none in params.yaml"),
        ("data/rollouts", "DPO samples no responses"),
    ):
        assert [file.name for file in (project / path).iterdir()] == ["README.md"]
        assert why in (project / path / "README.md").read_text()
    assert metrics(project, "distill") == metrics(project, "reward") == {}


def test_the_policy_learned_the_pairs(project: Path) -> None:
    found = metrics(project, "align")
    assert found["loss"]["first"] == pytest.approx(0.6931, abs=0.01)
    assert found["loss"]["last"] < found["loss"]["first"]
    counts = metrics(project, "preferences")["labellers"]["support"]
    assert counts["ties"] == 8
    assert counts["train"] + counts["test"] == 80
    table = open_splits(project / "data/preferences")
    assert found["pairs"] == sum(choice is not None for choice in table["train"]["choice"])
    assert found["held_out"]["comparisons"] == sum(choice is not None for choice in table["test"]["choice"])
    AutoModelForCausalLM.from_pretrained(project / "models/aligned")


def test_killed_it_goes_on_to_the_same_weights(project: Path) -> None:
    killed_and_resumed(project, "align", (["aligned"], {"": (STEPS, "align/loss")}), kills=1, seed=1)


def test_the_table_is_exported(project: Path) -> None:
    result = miniature.run(project, "jokbo.cli", "preferences", "export", "--to", "label_studio")
    assert result.returncode == 0, result.stderr
    tasks = json.loads((project / "exports/label_studio.json").read_text())
    assert len(tasks) == metrics(project, "align")["pairs"]
    assert "are ties, which label_studio cannot hold" in result.stdout
