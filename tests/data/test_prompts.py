"""Prompts begin sentences, responses end them, and the mask names the responses alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from jokbo.data.continuations import selected
from jokbo.data.corpus.tokenizer import save_tokenizer
from jokbo.data.prompts import SHAPE, Prompts, Selection, Shape, save
from jokbo.params import ContinuationPrompts as Settings
from jokbo.runtime.errors import InputError
from tests.support.corpora import trained

TEXTS = [
    "The film was long. It had a good cast and a fine score, they said! I would not see it again. Would you?",
    "Never again. A dull story of a dull man in a dull town, told at length and with no wit. So it goes.",
    "Fine.",
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(trained(TEXTS, 280), path)
    return AutoTokenizer.from_pretrained(path)


def settings(**changes: int) -> Settings:
    given = {
        "kind": "continuation",
        "seed": 1,
        "sources": ["a"],
        "prompts_per_text": 9,
        "prompt_tokens": 5,
        "response_tokens": 70,
    }
    return Settings(**{**given, **changes})


def save_shape(given: Settings, tokenizer: Any, folder: Path) -> None:
    Shape(given.prompt_tokens, given.response_tokens, tokenizer.pad_token_id).save(folder / SHAPE)


@pytest.fixture
def build(tokenizer, tmp_path: Path):
    """Return a function that selects prompts from the texts, saves them, and opens what was saved."""

    def built(*, most: int = 9, limit: int | None = None, **changes: int) -> Prompts:
        given = settings(**changes)
        shutil.rmtree(tmp_path / "prompts", ignore_errors=True)
        save(selected(tokenizer, TEXTS, given), tmp_path / "prompts/train")
        save_shape(given, tokenizer, tmp_path / "prompts")
        return Prompts.open(tmp_path / "prompts/train", prompts_per_text=most, limit=limit)

    return built


def test_rows_go_from_the_start_of_a_sentence_to_the_end_of_one(tokenizer, build) -> None:
    data = build()
    assert len(data) >= 4
    starts = {
        sentence.strip()[:4]
        for text in TEXTS
        for sentence in text.replace("!", ".").replace("?", ".").split(".")
    }
    for row, length in zip(data.tokens_NS, data.lengths_N.tolist(), strict=True):
        response = row[5 : 5 + length]
        assert response[-1] == tokenizer.eos_token_id
        assert set(row[5 + length :].tolist()) <= {tokenizer.pad_token_id}
        text = tokenizer.decode(row, skip_special_tokens=True)
        assert any(text in whole for whole in TEXTS)
        assert text[-1] in ".!?"
        assert text[:4] in starts


def test_the_mask_names_the_targets_of_the_responses(tokenizer, build) -> None:
    data = build()
    for row, mask, length in zip(data.tokens_NS, data.mask_NT, data.lengths_N.tolist(), strict=True):
        assert torch.equal(row[1:][mask], row[5 : 5 + length])


def test_they_are_a_function_of_the_seed_and_limited(build) -> None:
    assert torch.equal(build().tokens_NS, build().tokens_NS)
    assert not torch.equal(build().tokens_NS, build(seed=2).tokens_NS)
    assert torch.equal(build(limit=2).tokens_NS, build().tokens_NS[:2])


@pytest.mark.parametrize("most", [1, 2, 3])
def test_fewer_prompts_of_a_text_are_those_that_so_many_would_be(build, most: int) -> None:
    ours = build(most=most)
    theirs = build(most=most, prompts_per_text=most)
    assert 0 < len(ours) <= most * len(TEXTS)
    assert torch.equal(ours.tokens_NS, theirs.tokens_NS)
    assert torch.equal(ours.lengths_N, theirs.lengths_N)


def test_texts_that_give_none_are_counted(tokenizer) -> None:
    found = selected(tokenizer, TEXTS, settings())
    assert (found.texts, found.without(9)) == (3, 1)
    assert found.without(1) >= 1


def test_texts_without_room_for_a_response_are_refused(tokenizer) -> None:
    with pytest.raises(InputError, match="prompt_tokens"):
        selected(tokenizer, TEXTS, settings(prompt_tokens=100))


def test_a_split_without_a_prompt_is_refused(tokenizer, tmp_path: Path) -> None:
    found = selected(tokenizer, TEXTS, settings())
    first = Selection(found.rows, [order[:0] for order in found.orders], found.texts)
    save(first, tmp_path / "prompts/train")
    save_shape(settings(), tokenizer, tmp_path / "prompts")
    with pytest.raises(InputError, match="raise prompts_per_text"):
        Prompts.open(tmp_path / "prompts/train")
