"""llama.cpp itself, through its server, reads an exported GGUF: the same tokens, distributions and continuations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import torch
from transformers import AutoTokenizer

from jokbo.exporting import Precision
from jokbo.exporting.export import Target, export
from jokbo.exporting.opening import Opened, opened
from jokbo.models import access
from tests.exporting.conftest import TEXTS

pytest.importorskip("gguf")
xllamacpp = pytest.importorskip("xllamacpp")  # llama.cpp with its server
Ask = Callable[..., Any]


def _served(model: Path, folder: Path, precision: Precision = "fp32") -> tuple[Any, Ask]:
    """The server, which runs until it is collected, and what asks it."""
    export(model, Target(folder, "gguf", precision), lambda key: None)
    settings = xllamacpp.CommonParams()
    settings.model.path = str(folder / "model.gguf")
    settings.n_ctx, settings.n_parallel, settings.warmup, settings.fit_params = 128, 1, False, False
    settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)

    def ask(path: str, **body: object) -> Any:
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        with urlopen(Request(f"{server.listening_address}{path}", data, kind)) as answer:
            return json.load(answer)

    return server, ask


def _log_probs(own: Opened, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return own.network(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_same_tokens_and_the_same_text(models: Path, tmp_path: Path, name: str) -> None:
    _server, ask = _served(models / name, tmp_path / "out")
    tokenizer, own = AutoTokenizer.from_pretrained(models / name), opened(models / name)
    for text in [*TEXTS, f"<|endoftext|>{TEXTS[0]}<|pad|>"]:
        ids = tokenizer(text)["input_ids"]
        assert ask("/tokenize", content=text, add_special=True, parse_special=True)["tokens"] == ids
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        told = ask("/completion", prompt=ids, n_predict=12, temperature=0, return_tokens=True)["tokens"]
        written = access.continued(own.network, torch.tensor([ids]), max_new_tokens=12, do_sample=False)
        assert told == written[0, len(ids) :].tolist()[: len(told)]
        assert told


# the largest difference of log-probabilities, which deviate by about 0.8; GELU is a table in fp16 to llama.cpp
@pytest.mark.parametrize(
    ("name", "precision", "close"),
    [
        ("llama", "fp32", 1e-4),
        ("gpt2", "fp32", 5e-3),
        ("llama", "q8_0", 0.2),
    ],
)
def test_the_same_distribution(
    models: Path, tmp_path: Path, name: str, precision: Precision, close: float
) -> None:
    _server, ask = _served(models / name, tmp_path / "out", precision)
    tokenizer, own = AutoTokenizer.from_pretrained(models / name), opened(models / name)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        expected = _log_probs(own, ids)
        (told,) = ask("/completion", prompt=ids, n_predict=1, temperature=0, n_probs=len(expected))[
            "completion_probabilities"
        ]
        found = {entry["id"]: entry["logprob"] for entry in told["top_logprobs"]}
        assert len(found) == len(expected)
        difference = max(abs(found[token] - expected[token].item()) for token in found)
        assert difference < close
