"""Prompts begin sentences, answers end them, and the mask names the answers alone."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from jokbo.data.corpus.tokenizer import save_tokenizer
from jokbo.data.prompts import continuations
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


def build(tokenizer: PreTrainedTokenizerBase, **changes: int):
    settings = {"prompt_tokens": 5, "response_tokens": 70, "seed": 1, "per_text": 9}
    return continuations(tokenizer, TEXTS, **{**settings, **changes})


def test_rows_are_pieces_of_the_texts_from_one_sentence_to_the_end_of_another(tokenizer) -> None:
    data = build(tokenizer)
    assert len(data) >= 4
    starts = {
        sentence.strip()[:4]
        for text in TEXTS
        for sentence in text.replace("!", ".").replace("?", ".").split(".")
    }
    for row, length in zip(data.tokens_NS, data.lengths_N.tolist(), strict=True):
        answer = row[5 : 5 + length]
        assert answer[-1] == tokenizer.eos_token_id
        assert set(row[5 + length :].tolist()) <= {tokenizer.pad_token_id}
        text = tokenizer.decode(row, skip_special_tokens=True)
        assert any(text in whole for whole in TEXTS)
        assert text[-1] in ".!?"
        assert text[:4] in starts


def test_the_mask_names_the_answers_targets(tokenizer) -> None:
    data = build(tokenizer)
    for row, mask, length in zip(data.tokens_NS, data.mask_NT, data.lengths_N.tolist(), strict=True):
        assert torch.equal(row[1:][mask], row[5 : 5 + length])


def test_they_are_a_function_of_the_seed_and_limited(tokenizer) -> None:
    assert torch.equal(build(tokenizer).tokens_NS, build(tokenizer).tokens_NS)
    assert not torch.equal(build(tokenizer).tokens_NS, build(tokenizer, seed=2).tokens_NS)
    assert len(build(tokenizer, limit=2)) == 2


def test_texts_that_give_none_are_counted(tokenizer) -> None:
    assert (build(tokenizer).texts, build(tokenizer).without) == (3, 1)
    assert build(tokenizer, limit=1).without == 1


def test_texts_without_room_for_an_answer_are_told(tokenizer) -> None:
    with pytest.raises(InputError, match="prompt_tokens"):
        build(tokenizer, prompt_tokens=100)
