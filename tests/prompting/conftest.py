"""A small model in a folder, in a project without a network; a task of labelled rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jokbo.exporting import opening
from jokbo.exporting.opening import Opened
from jokbo.models import causal
from tests.evaluation.benchmarks.conftest import alone
from tests.support import adopted

__all__ = ["alone"]  # by which every test stands in a project of its own
CONTEXT = 96
OPTIONS = {"pos": "good", "neg": "so dull", "mixed": "bad"}
ROWS = [
    {"text": "The film was warm and", "label": "pos"},
    {"text": "They say the plot was", "label": "mixed"},
    {"text": "In 1950 the score seemed", "label": "neg"},
    {"text": "A dull film", "label": "mixed"},
    {"text": "Wonderful, they say", "label": "pos"},
    {"text": "The score and the plot, they say, were", "label": "neg"},
    {"text": "It", "label": "pos"},
]
TASK = {"rows": "rows.jsonl", "question": "{{text}}", "options": OPTIONS}


@pytest.fixture(scope="session", params=["llama", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / request.param
    tokenizer = adopted.tokenizer("<pad>", "</s>", pad_token="<pad>", eos_token="</s>")
    if request.param == "llama":
        adopted.save(path, tokenizer, max_position_embeddings=CONTEXT)
    else:
        sizes: Any = SimpleNamespace(
            architecture="gpt2", layers=2, hidden_size=16, heads=2, context=CONTEXT, dropout=0.0
        )
        config = causal.configuration(sizes, vocabulary=len(tokenizer), end_of_text=1, padding=0)
        causal.build(config, seed=0).save_pretrained(path)
        tokenizer.save_pretrained(path)
    found = opening.opened(path)
    with torch.no_grad():
        for parameter in found.network.parameters():
            parameter.mul_(15 if parameter.ndim > 1 else 1)  # so that answers differ between rows
    found.network.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def model(folder: Path) -> Opened:
    return opening.opened(folder)


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., Path]:
    """Write a task and its rows; a change to None takes a key out."""

    def write(rows: list[dict[str, Any]] = ROWS, changes: dict[str, Any] | None = None, **more: Any) -> Path:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        whole = TASK | (changes or {}) | more
        (tmp_path / "task.yaml").write_text(json.dumps({k: v for k, v in whole.items() if v is not None}))
        return tmp_path / "task.yaml"  # JSON is YAML

    return write
