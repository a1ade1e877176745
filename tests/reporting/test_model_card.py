from __future__ import annotations

from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

from jokbo.reporting import model_card

CONFIG = GPT2Config(n_layer=2, n_head=1, n_embd=8, n_positions=16, vocab_size=32)


@pytest.mark.parametrize("name", model_card.ABOUT)
def test_a_card_says_what_it_is_of_what_and_its_limits(name: str) -> None:
    writes = name not in ("classifier", "reward")
    network = (GPT2LMHeadModel if writes else GPT2ForSequenceClassification)(CONFIG)
    card = model_card.text(Path("models", name), network, [Path("models/base"), Path("data/prompts")])
    assert f"pipeline_tag: text-{'generation' if writes else 'classification'}" in card
    for said in (f"# {name}", f"{network.num_parameters():,} parameters", "`models/base`, `data/prompts`"):
        assert said in card
    for word in ("Licence", "Limits", "2 layers of\n  8"):
        assert word in card
    assert max(map(len, card.splitlines())) <= 250


def test_the_same_model_has_the_same_card() -> None:
    one, other = (model_card.text(Path("models/base"), GPT2LMHeadModel(CONFIG), []) for _ in range(2))
    assert one == other
