"""Every system, at a size at which a step takes milliseconds."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jokbo.systems import bert
from jokbo.systems.common import Size, SpecialTokens, Text, save
from tests.systems import running_text

MORE: dict[str, dict[str, Any]] = {  # what a system needs more than a size; all systems are here
    "albert": {"embedding": 16},
    "bahdanau": {"embedding": 16},
    "bart": {},
    "bert": {},
    "cramming": {},
    "deberta": {},
    "distilbert": {},
    "electra": {"generator": 0.5},
    "elmo": {"cells": 48, "filters": [[1, 8], [2, 16], [3, 24]]},
    "fast_weights": {"rule": "delta", "feed_forward": 64},
    "gpt1": {},
    "gpt2": {},
    "gpt3": {},
    "mass": {},
    "roberta": {},
    "sentiment_neuron": {"embedding": 16},
    "spanbert": {},
    "t5": {},
    "transformer": {},
    "ulmfit": {"hidden": 48},
    "xlm": {},
    "xlnet": {},
}
NAMES = list(MORE)
PIECES = tuple(f"##{number:x}책" for number in range(running_text.SIZE.vocabulary))
SPECIAL_TOKENS: SpecialTokens = replace(running_text.SPECIAL_TOKENS, token_strings=PIECES)


def module_of(name: str) -> ModuleType:
    return import_module(f"jokbo.systems.{name}")


def size_of(name: str, folder: Path, dropout: float = 0.0) -> Size:
    """`folder` is where DistilBERT's teacher is put."""
    size = replace(running_text.SIZE, dropout=dropout, more=MORE[name])
    if name == "distilbert":
        save(bert.network(replace(size, more={}), SPECIAL_TOKENS, 9), folder)
        size = replace(size, layers=1, more={"teacher": str(folder)})
    return size


def text() -> Text:
    rng = np.random.default_rng(1)
    words = [running_text.ORDINARY + rng.integers(running_text.WORDS, size=length) for length in range(3, 9)]
    return replace(
        running_text.running_text(),
        special_tokens=SPECIAL_TOKENS,
        pairs=[(each, each[::-1]) for each in words],
    )
