"""The chain from a model of the user's, in miniature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.params import Params, checks
from jokbo.reporting.data_card import DataCard
from jokbo.runtime.ancestry import Record
from jokbo.runtime.errors import InputError
from tests.support import adopted, miniature

OWN = {"kind": "folder", "licence": "MIT", "context": 64, "path": "small"}


def tree(**pretrain: Any) -> dict[str, Any]:
    made = miniature.params()
    made["pretrain"] |= {"start": OWN, **pretrain}
    made["tokenize"]["tokenizer"] = {"kind": "model", "maximum_unknown": 0.01}
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that adopts a model as it is, until it has a base model."""
    folder = miniature.build(tmp_path_factory.mktemp("adopted"))
    adopted.save(folder / "data/local/small")
    with open(folder / "params.yaml", "w") as file:
        YAML().dump(tree(training=None), file)
    done = miniature.run(folder, "dvc", "repro", "pretrain")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_base_is_the_model_that_was_given(project: Path) -> None:
    given, base = (
        AutoModelForCausalLM.from_pretrained(project / path, dtype=torch.float32)
        for path in ("data/local/small", "models/base")
    )
    tokens_BT = torch.arange(40).view(2, 20)
    assert torch.equal(given(tokens_BT).logits, base(tokens_BT).logits)


def test_its_tokenizer_is_the_one_of_the_corpus(project: Path) -> None:
    reads = AutoTokenizer.from_pretrained(project / "data/tokenizer")
    assert (reads.eos_token, reads.pad_token) == ("</s>", "<unk>")
    shown = miniature.run(project, "jokbo.cli", "tree", "models/base")
    assert "models/start" in shown.stdout, shown.stdout + shown.stderr


def test_its_source_and_licence_stand_in_the_data_card_and_the_ancestry(project: Path) -> None:
    card = DataCard.load(project / "reports/data-card.json")
    assert (card.start.source, card.start.licence) == ("data/local/small", "MIT")
    assert "Licence: MIT." in (project / "reports/data-card.md").read_text("utf-8")
    record = Record.load(project / "models/start")
    assert record.params["pretrain.start"] == OWN
    assert Record.load(project / "models/base").parents == {"models/start": record.weights}


def test_no_step_read_anything(project: Path) -> None:
    assert json.loads((project / "metrics/pretrain.json").read_text())["tokens"] == 0
    shown = miniature.run(project, "jokbo.cli", "data", "at-step", "1")
    assert shown.returncode == 2
    assert shown.stderr.startswith("jokbo: pretrain.training is null")


@pytest.mark.parametrize(("stage", "key"), [("distill", "layers"), ("align", "value_layers")])
def test_more_layers_than_the_model_has_are_refused_before_anything_is_prepared(
    project: Path, stage: str, key: str
) -> None:
    made = tree(training=None)
    made[stage][key] = 3
    start = DataCard.load(project / "reports/data-card.json").start
    with pytest.raises(InputError, match=rf"{stage}\.{key} is 3, but data/local/small has 2: set it lower"):
        checks.check_start(Params.model_validate(made), [stage], start)
