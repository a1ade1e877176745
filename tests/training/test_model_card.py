from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2ForTokenClassification,
    GPT2LMHeadModel,
)

from jokbo.training import model_card
from tests.conftest import ROOT

CONFIG = GPT2Config(n_layer=2, n_head=1, n_embd=8, n_positions=16, vocab_size=32)


@pytest.mark.parametrize(
    ("made", "task"), [(GPT2LMHeadModel, "generation"), (GPT2ForSequenceClassification, "classification")]
)
def test_a_card_says_what_it_is_and_from_what(made: type, task: str) -> None:
    network = made(CONFIG)
    card = model_card.text(Path("models/policy"), network, [Path("models/base"), Path("data/prompts")])
    for said in (
        f"pipeline_tag: text-{task}\n",
        "# policy\n",
        f"{made.__name__}, {network.num_parameters():,} parameters, 2 layers of\n  8",
        "`models/base`, `data/prompts`",
        "docs/models.md",
    ):
        assert said in card
    assert max(map(len, card.splitlines())) <= 250


def test_a_card_of_a_task_names_its_classes() -> None:
    config = GPT2Config(**{**CONFIG.to_dict(), "id2label": {0: "billing", 1: "bug"}, "pad_token_id": 1})
    card = model_card.text(Path("models/tasks/tickets"), GPT2ForTokenClassification(config), [])
    assert "- **Classes**: `billing`, `bug`.\n" in card
    assert "Classes" not in model_card.text(Path("models/base"), GPT2LMHeadModel(CONFIG), [])


def test_the_same_model_has_the_same_card() -> None:
    one, other = (model_card.text(Path("models/base"), GPT2LMHeadModel(CONFIG), []) for _ in range(2))
    assert one == other


def test_the_page_that_cards_name_tells_of_every_model_and_of_no_other() -> None:
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values()
    outs = [Path(out) for stage in stages for out in stage["outs"]]
    models = [out.name for out in outs if out.parent.name == "models" and not out.suffix]
    page = (ROOT / "docs/models.md").read_text().splitlines()
    assert sorted(line.removeprefix("### ") for line in page if line.startswith("### ")) == sorted(models)
