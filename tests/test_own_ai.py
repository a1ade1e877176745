"""The miniature's chain with a model that judges, as docs/own-ai-judge.md has it; and one that revises its answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jokbo.data.tables import open_splits
from tests.support import adopted, miniature

pytestmark = pytest.mark.slow
PRINCIPLES = """
comparison:
- Which of the two is kinder?
revision:
- critique: What is wrong?
  revision: Write it again.
"""
JUDGE: dict[str, Any] = {
    "kind": "ai",
    "judge": {"kind": "folder", "path": "judge", "licence": "MIT", "context": 1024},
    "chat": False,
    "constitution": "principles.yaml",
    "minimum_mass": 0.0,  # the judge has learned nothing: its letters are as probable as any other token
    "prompts": 40,
    "responses_per_prompt": 3,
    "temperature": 1.0,
    "held_out": 0.3,
    "compared": 12,
}


def write(project: Path, **judge: Any) -> None:
    tree = miniature.params()
    tree["pretrain"]["start"]["context"] = 256
    people = tree["preferences"]["labellers"]["people"]
    tree["preferences"]["labellers"] = {"judge": {**JUDGE, **judge}, "people": people}
    tree["distill"] = tree["reward"] = {"kind": "none"}
    training = {**tree["finetune"]["policy"]["training"], "steps": 4, "batch_size": 4}
    tree["align"] = {"kind": "dpo", "seed": 1, "beta": 0.5, "training": training}
    with open(project / "params.yaml", "w") as file:
        YAML().dump(tree, file)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature after one run to its aligned model."""
    folder = miniature.build(tmp_path_factory.mktemp("judged"))
    adopted.save(folder / "data/local/judge", max_position_embeddings=1024, initializer_range=0.5)
    (folder / "data/local/principles.yaml").write_text(PRINCIPLES)
    write(folder)
    result = miniature.run(folder, "dvc", "repro", "align")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def test_the_chain_learns_what_the_judge_prefers_and_says_how_far_to_believe_it(project: Path) -> None:
    counts = json.loads((project / "metrics/preferences.json").read_text())["labellers"]
    judged = counts["judge"]
    assert judged["train"] + judged["test"] == judged["trust"]["judged"]
    assert judged["ties"] == round(judged["trust"]["ties"] * judged["trust"]["judged"])
    assert judged["trust"]["consistent"]["value"] == pytest.approx(1 - judged["trust"]["ties"])
    assert judged["trust"]["agreement"]["people"]["pairs"] == 12
    assert counts["people"]["trust"] is None

    table = open_splits(project / "data/preferences")
    rows = [row for split in table for row in table[split] if row["source"] == "judge"]
    assert len(rows) == judged["train"] + judged["test"]
    assert all(0 <= row["probability"] <= 1 for row in rows)
    assert {row["labeller"] for row in rows} == {"data/local/judge"}
    assert (project / "models/aligned/config.json").is_file()
    learned = json.loads((project / "metrics/align.json").read_text())
    preferred = [row for row in table["train"] if row["source"] == "judge" and row["choice"] is not None]
    assert 0 < learned["pairs"] <= len(preferred)  # without those that its context cannot hold


def test_the_policy_itself_is_refused_in_one_line(project: Path) -> None:
    """Also where it comes from another place."""
    shutil.copytree(project / "models/policy", project / "data/local/policy")
    write(project, judge={**JUDGE["judge"], "path": "policy", "context": 256})
    result = miniature.run(project, "dvc", "repro", "--single-item", "preferences")
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if "very weights" in line]
    assert line.startswith("jokbo: preferences.labellers.judge.judge has the very weights of the policy")
    assert "Traceback" not in result.stderr


def test_the_base_model_revises_its_answers(project: Path) -> None:
    asked = [f"Was the film of {year} dull?" for year in range(1950, 1960)]
    (project / "data/local/questions.txt").write_text("\n".join(asked))
    questions, own = "data/local/questions.txt", "data/local/principles.yaml"
    done = miniature.run(
        project, *("jokbo.cli", "revise", "models/base", questions, "--constitution", own, "--tokens", "12")
    )
    assert done.returncode == 0, done.stderr
    written = [json.loads(line) for line in (project / "data/local/revised.jsonl").read_text().splitlines()]
    left_out = json.loads((project / "data/local/revised.made.json").read_text())["left_out"]
    assert len(written) + sum(left_out.values()) == len(asked)
    assert all(row["messages"][-1]["content"] == row["rounds"][-1]["revision"] != "" for row in written)
