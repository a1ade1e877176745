"""The miniature chain on conversations: from rows of `messages` to a model that PPO aligned on own prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from jokbo.data.prompts import Prompts
from jokbo.data.tables import open_splits, open_table
from tests.support import miniature

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = miniature.add_conversations(miniature.build(tmp_path_factory.mktemp("talk")))
    result = miniature.run(folder, "dvc", "repro", "evaluate")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def metrics(project: Path, stage: str) -> dict:
    return json.loads((project / f"metrics/{stage}.json").read_text())


def test_the_policy_learns_what_the_assistant_says_alone(project: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(project / "models/policy")
    prompts = Prompts.open(project / "data/prompts/train")
    assert len(prompts) > 50
    for row, learned in zip(prompts.tokens_NS, prompts.targets_NT, strict=True):
        said = tokenizer.decode(row[1:][learned])
        assert said.startswith(" The ")
        assert said.endswith(f".{tokenizer.eos_token}")
        assert not {"User", "How", "brief"} & set(said.replace(":", " ").split())


def test_models_carry_the_template_by_which_they_are_asked(project: Path) -> None:
    for model in ("policy", "student", "aligned"):
        tokenizer = AutoTokenizer.from_pretrained(project / "models" / model)
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Why?"}], add_generation_prompt=True, tokenize=False
        )
        assert asked == "User: Why?\n\nAssistant:"


def test_preferences_and_ppo_ask_own_prompts(project: Path) -> None:
    pairs = [row for row in open_splits(project / "data/preferences")["train"] if row["by_policy"]]
    rollouts = list(open_table(project / "data/rollouts"))
    for row in [*pairs, *rollouts]:
        assert row["prompt"].startswith("User: Was the ")
        assert row["prompt"].endswith(" any good?\n\nAssistant:")
    assert len({row["prompt"] for row in pairs}) > 1
    assert any(row["ended"] for row in rollouts)


def test_what_was_left_out_is_counted(project: Path) -> None:
    found = metrics(project, "prompts")
    assert found["prompts"]["texts"] == found["prompts"]["prompts"] == 40
    assert found["train"]["texts"] == found["train"]["prompts"] > 50
    assert 0 < found["train"]["shortened"] < found["train"]["texts"]
    assert metrics(project, "fetch")["no_conversations"] == {"reviews": 0, "talk": 0}
