"""Small networks and tokenizers for tests of benchmarks, which stand in a project without a network."""

from __future__ import annotations

import copy
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from jokbo.models import causal
from tests.evaluation.benchmarks.asking import CONTEXT
from tests.support import adopted

TEMPLATE = (
    "{% for turn in messages %}{{ turn.role[0] + ': ' + turn.content }}"
    "{{ '</s>' if turn.role == 'assistant' else '\n' }}{% endfor %}{{ 'a:' if add_generation_prompt }}"
)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a project of its own, where no name of the network can be looked up."""
    (tmp_path / "data/local/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def refuse(*asked: Any, **options: Any) -> None:
        raise AssertionError(f"the network is asked: {asked}")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return adopted.tokenizer("<pad>", "</s>", pad_token="<pad>", eos_token="</s>")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def net(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    sizes = {"layers": 2, "hidden_size": 16, "heads": 2, "context": CONTEXT, "dropout": 0.0}
    settings: Any = SimpleNamespace(architecture=request.param, **sizes)
    config = causal.configuration(settings, vocabulary=len(tokenizer), end_of_text=1, padding=0)
    built = causal.build(config, seed=0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)  # far enough from uniform
    return built.eval()


@pytest.fixture
def chatting(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    own = copy.deepcopy(tokenizer)
    own.chat_template = TEMPLATE
    return own
