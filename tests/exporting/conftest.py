"""Small models with a tokenizer, as stages save theirs, each made once."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from jokbo.data.corpus.tokenizer import save_tokenizer
from jokbo.models import causal, heads
from jokbo.runtime import ancestry
from tests.support.corpora import trained

TEXTS = [
    "The film was wonderful in 1984, wasn't it?  I'd say 12345 times so!",
    "Das naïve 한국어 영화 <b>bold</b>\n\n  tabs\tand spaces   at the end   ",
    "it's he'll we've 3.14159, x=10_000; 'tis 2026-11-27 🎬🎬 ½ ١٢٣",
]
CHAT = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
VOCABULARY = 400


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """llama, with grouped keys and single digits, and gpt2; classifier and reward, which descends from llama."""
    folder = tmp_path_factory.mktemp("project") / "models"
    grouped = {
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e4},
    }
    llama = _made(folder / "llama", "llama", digits=True, **grouped)
    gpt2 = _made(folder / "gpt2", "gpt2")
    for name, made, backbone in (
        ("reward", heads.on_last(llama, labels=1, seed=3), "llama"),
        ("classifier", heads.on_each(gpt2, labels=["0", "1"], seed=4), "gpt2"),
    ):
        made.save_pretrained(folder / name)
        AutoTokenizer.from_pretrained(folder / backbone).save_pretrained(folder / name)
    given = {"params": {"pretrain.seed": 1}, "key": "k"}
    with contextlib.chdir(folder.parent):  # as stages are, so that records name paths from there
        base, reward = Path("models/llama"), Path("models/reward")
        ancestry.made(base, stage="pretrain", deps={"data/tokens": "t.dir"}, **given).save(base)
        deps = {"models/llama": "l.dir", "jokbo/training": "c.dir"}
        ancestry.made(reward, stage="reward", deps=deps, **given).save(reward)
    return folder


def _made(folder: Path, architecture: str, *, digits: bool = False, **changes: object) -> PreTrainedModel:
    """Save a network, all of whose weights count, and a tokenizer with fewer tokens than the network has rows."""
    tokenizer = trained(TEXTS, VOCABULARY)
    if digits:  # as SmolLM's
        steps = [pre_tokenizers.Digits(individual_digits=True), tokenizer.pre_tokenizer]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    save_tokenizer(tokenizer, folder)
    opened: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    opened.chat_template = CHAT
    opened.save_pretrained(folder)
    sizes = SimpleNamespace(
        architecture=architecture, layers=2, hidden_size=64, heads=4, context=128, dropout=0.0
    )
    config = causal.configuration(sizes, vocabulary=VOCABULARY + 5, end_of_text=0, padding=1)
    for name, value in changes.items():
        setattr(config, name, value)
    network = causal.build(config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    network.save_pretrained(folder)
    return network.eval()
