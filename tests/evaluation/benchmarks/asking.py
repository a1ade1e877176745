"""A small task, and what a network is asked by it; and its answers, worked out one sequence at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from jokbo.evaluation import evaluation
from jokbo.evaluation.benchmarks import harness
from jokbo.params.chain import Benchmark

CONTEXT = 40
CHOICES = ["good", "not so good at all", "bad"]
ROWS = [
    {"text": "The film was warm and", "label": 0},
    {"text": "They say the plot was", "label": 2},
    {"text": "In 1950 the score seemed", "label": 1},
    {"text": "A dull film", "label": 2},
    {"text": "Wonderful, they say", "label": 0},
]
TASK = {
    "task": "reviews",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{text}}",
    "doc_to_target": "label",
    "doc_to_choice": CHOICES,
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "mcc"}],
}

LETTERS = [{"text": text, "label": label} for text, label in zip("abcde", (0, 2, 0, 2, 0), strict=True)]
SHORT = {"doc_to_choice": ["x", "y", "z"], "fewshot_delimiter": " ", "target_delimiter": "="}


def given(
    rows: list[dict[str, Any]] = ROWS, changes: dict[str, Any] | None = None, **settings: Any
) -> Benchmark:
    """Write a task and its rows; return the settings that name it. A change to None takes a key out."""
    folder = Path("data/local/mine")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {key: value for key, value in (TASK | (changes or {})).items() if value is not None}
    (folder / "task.yaml").write_text(json.dumps(task))  # JSON is YAML
    return Benchmark.model_validate({"file": "mine/task.yaml", **settings})


def scored(net: Any, tokenizer: Any, benchmark: Benchmark, seed: int = 1) -> evaluation.Benchmark:
    return harness.scores("reviews", benchmark, {"base": net}, tokenizer, seed, 200)


def log_likelihood(net: PreTrainedModel, asked: list[int], answer: list[int]) -> float:
    """Return that of the answer's tokens after those asked, of which the last ones that fit are read."""
    whole = (asked + answer)[-(CONTEXT + 1) :]
    with torch.no_grad():
        log_probs_TV = net(torch.tensor([whole[:-1]])).logits[0].log_softmax(-1)
    places = range(len(whole) - 1 - len(answer), len(whole) - 1)
    return sum(log_probs_TV[place, whole[place + 1]].item() for place in places)


def by_hand(
    net: PreTrainedModel, tokenizer: Any, asked: list[str], rows: list[dict[str, Any]]
) -> tuple[list, list]:
    """Return for each row whether the right choice is the likeliest, and whether it is so a character."""
    right, right_a_character = [], []
    for question, row in zip(asked, rows, strict=True):
        found = [
            log_likelihood(net, tokenizer.encode(question), tokenizer.encode(f" {choice}"))
            for choice in CHOICES
        ]
        right.append(int(np.argmax(found)) == row["label"])
        right_a_character.append(
            int(np.argmax([one / len(c) for one, c in zip(found, CHOICES, strict=True)])) == row["label"]
        )
    return right, right_a_character


def questions(net: Any, tokenizer: Any, benchmark: Benchmark) -> list[tuple[str, str]]:
    """Return what the model is asked, each with an answer whose likelihood it gives."""
    asked: list[tuple[str, str]] = []
    plain = harness._Network._loglikelihood_tokens

    def noted(self: Any, requests: Any, **options: Any) -> Any:
        asked.extend(both for both, _, _ in requests)
        return plain(self, requests, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness._Network, "_loglikelihood_tokens", noted)
        scored(net, tokenizer, benchmark)
    return asked
