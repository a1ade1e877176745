from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer, GPT2Config

from jokbo.data.tokenizer import END_OF_TEXT, PADDING, save_tokenizer, train_tokenizer

TEXTS = [f"The film number {i} is a film that I liked, isn't it?\n\nSo did they." for i in range(50)]


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def opened(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(trained, path)
    return AutoTokenizer.from_pretrained(path)


def test_readers_whose_default_is_to_tidy_are_told_not_to(trained, tmp_path):
    save_tokenizer(trained, tmp_path)
    assert (
        json.loads((tmp_path / "tokenizer_config.json").read_text())["clean_up_tokenization_spaces"] is False
    )


def test_vocabulary_is_of_the_size_asked_for_or_of_what_there_is(trained):
    assert trained.get_vocab_size() == 300
    assert train_tokenizer(["ab ab"], 300).get_vocab_size() == 258 + len(["ab", "Ġab"])


@given(text=st.one_of(st.text(), st.text(st.sampled_from("가각힣ᄀ\u1161🎬👩\u200d🚀é ,'\n\t"))))
def test_any_text_comes_back(trained, opened, text):
    ids = opened(text)["input_ids"]
    assert opened.decode(ids) == text
    assert ids == trained.encode(text).ids


def test_merges_shorten_text(trained):
    assert len(trained.encode(TEXTS[0]).ids) < len(TEXTS[0]) / 2


def test_special_tokens(opened):
    assert (opened.bos_token_id, opened.eos_token_id, opened.pad_token_id) == (0, 0, 1)
    assert opened.convert_ids_to_tokens([0, 1]) == [END_OF_TEXT, PADDING]
    assert opened(END_OF_TEXT)["input_ids"] == [0]
    assert opened.model_max_length > 10**9


@pytest.mark.parametrize("text", ["it 's here , is n't it ?", " leading", "trailing ", "a  b"])
def test_nothing_is_added_or_tidied(opened, text):
    assert not {0, 1}.intersection(opened(text)["input_ids"])
    assert opened.decode(opened(text)["input_ids"]) == text


def test_same_class_beside_a_model(trained, opened, tmp_path):
    """A model's config.json must not make AutoTokenizer build GPT-2's own tokenizer of these files."""
    save_tokenizer(trained, tmp_path)
    GPT2Config(vocab_size=300, bos_token_id=0, eos_token_id=0).save_pretrained(tmp_path)
    beside = AutoTokenizer.from_pretrained(tmp_path)
    assert type(beside) is type(opened)
    assert beside(" a film , 영화")["input_ids"] == opened(" a film , 영화")["input_ids"]


def test_training_again_gives_the_same_bytes(trained, tmp_path):
    save_tokenizer(trained, tmp_path / "here")
    program = (
        "from pathlib import Path; from tests.data.test_tokenizer import TEXTS;"
        "from jokbo.data.tokenizer import save_tokenizer, train_tokenizer;"
        f"save_tokenizer(train_tokenizer(TEXTS, 300), Path({str(tmp_path / 'there')!r}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    for file in (tmp_path / "here").iterdir():
        assert file.read_bytes() == (tmp_path / "there" / file.name).read_bytes()
