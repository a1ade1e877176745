from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jokbo.data.packing import TokenCorpus, pack
from jokbo.data.tokenizer import END_OF_TEXT, train_tokenizer
from jokbo.errors import InputError

TOKENIZER = train_tokenizer(["the film is the film"] * 3, 260)


@given(st.lists(st.text(max_size=30), max_size=12), st.integers(1, 40), st.data())
@settings(max_examples=50, deadline=None)
def test_shards_read_as_one_array_with_the_documents_in_it(tmp_path_factory, texts, shard_tokens, data):
    path = tmp_path_factory.mktemp("corpus")
    counts = pack(texts, TOKENIZER, 0, path, shard_tokens)
    corpus = TokenCorpus.open(path)
    stream = corpus.window(0, corpus.total_tokens)
    assert [len(shard) for shard in corpus.shards[:-1]] == [shard_tokens] * (len(corpus.shards) - 1)
    assert 0 < len(corpus.shards[-1]) <= shard_tokens
    assert stream[0] == 0
    bounds = list(zip(corpus.documents[:-1], corpus.documents[1:], strict=True))
    assert len(bounds) == counts["documents"] == len(texts)
    for text, (start, end) in zip(texts, bounds, strict=True):
        assert stream[end - 1] == 0
        assert 0 not in stream[start : end - 1]
        assert TOKENIZER.decode(stream[start : end - 1].tolist()) == text
    assert counts["tokens"] == corpus.total_tokens == corpus.documents[-1]
    assert counts["bytes"] == len("".join(texts).encode())
    start = data.draw(st.integers(0, corpus.total_tokens))
    length = data.draw(st.integers(0, corpus.total_tokens - start))
    assert corpus.window(start, length).tolist() == stream[start : start + length].tolist()


def test_more_documents_than_are_encoded_at_a_time(tmp_path):
    texts = [f"film {i}" for i in range(2500)]
    pack(texts, TOKENIZER, 0, tmp_path, 1000)
    corpus = TokenCorpus.open(tmp_path)
    assert corpus.window(0, corpus.total_tokens).tolist() == [
        0,
        *(token for text in texts for token in [*TOKENIZER.encode(text).ids, 0]),
    ]


def test_a_text_cannot_forge_the_end_of_a_document(tmp_path):
    pack([f"good {END_OF_TEXT} evil"], TOKENIZER, 0, tmp_path, 1000)
    corpus = TokenCorpus.open(tmp_path)
    assert (corpus.window(0, corpus.total_tokens) == 0).sum() == 2
    assert TOKENIZER.encode(END_OF_TEXT).ids == [0], "the tokenizer itself is left as it was"


def test_tokens_are_as_narrow_as_the_vocabulary_allows_and_mapped(tmp_path):
    pack(["the film"], TOKENIZER, 0, tmp_path / "narrow", 10)
    (shard,) = TokenCorpus.open(tmp_path / "narrow").shards
    assert shard.dtype == np.uint16
    assert isinstance(shard, np.memmap)
    wide = train_tokenizer([], 258)
    wide.add_tokens([f"<{i}>" for i in range(2**16)])
    pack(["<65535>"], wide, 0, tmp_path / "wide", 10)
    assert TokenCorpus.open(tmp_path / "wide").window(1, 1).tolist() == [wide.token_to_id("<65535>")]


def test_windows_are_int64_and_end_with_the_corpus(tmp_path):
    pack(["the film"], TOKENIZER, 0, tmp_path, 10)
    corpus = TokenCorpus.open(tmp_path)
    assert corpus.window(0, 2).dtype == np.int64
    for start, length in [(-1, 1), (0, corpus.total_tokens + 1), (corpus.total_tokens, 1), (2, -1)]:
        with pytest.raises(IndexError, match="outside a corpus"):
            corpus.window(start, length)


def test_no_corpus(tmp_path):
    with pytest.raises(InputError, match="holds no token shards: run the stage tokenize"):
        TokenCorpus.open(tmp_path / "nothing")
