from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jokbo.data import shards
from jokbo.data.corpus import mixing, packing
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.data.corpus.tokenizer import END_OF_TEXT
from jokbo.data.counts import TokenCounts
from jokbo.runtime.errors import InputError
from tests.support.corpora import document, encoded, packed, trained

TOKENIZER = trained(["the film is the film"] * 3, 260)


def words(corpus: TokenCorpus) -> list[str]:
    """Return the texts of a corpus, occurrence after occurrence."""
    stream = corpus.window(0, corpus.total_tokens)
    assert stream[0] == 0
    texts = []
    for start, end in zip(corpus.documents[:-1], corpus.documents[1:], strict=True):
        assert stream[end - 1] == 0
        assert 0 not in stream[start : end - 1]
        texts.append(TOKENIZER.decode(stream[start : end - 1].tolist()))
    assert corpus.documents[-1] == corpus.total_tokens
    return texts


@given(st.lists(st.text(max_size=30), min_size=1, max_size=12), st.integers(1, 40), st.data())
@settings(max_examples=40)
def test_shards_read_as_one_array_with_the_documents_in_it(tmp_path_factory, texts, shard_tokens, data):
    corpus = packed(tmp_path_factory.mktemp("corpus"), texts, TOKENIZER, shard_tokens)
    assert words(corpus) == texts
    assert [len(shard) for shard in corpus.shards[:-1]] == [shard_tokens] * (len(corpus.shards) - 1)
    assert 0 < len(corpus.shards[-1]) <= shard_tokens
    stream = corpus.window(0, corpus.total_tokens)
    start = data.draw(st.integers(0, corpus.total_tokens))
    length = data.draw(st.integers(0, corpus.total_tokens - start))
    assert corpus.window(start, length).tolist() == stream[start : start + length].tolist()


DOCUMENTS = [
    *(document(f"film {i}", "films") for i in range(5)),
    document("책", "books", "films", language="ko"),
    *(document(f"other {i}", "others") for i in range(3)),
    *(document(f"book {i} é", "books") for i in range(7)),
    document("the film", "films", language="und"),
]


@pytest.fixture
def mixed(tmp_path):
    return encoded(tmp_path, DOCUMENTS, TOKENIZER, sources=["books", "films"], files=4)


def test_counts_of_each_source_and_language(mixed):
    books, films = (
        [row["text"] for row in DOCUMENTS if row["sources"][0] == name] for name in ("books", "films")
    )
    assert len(books) == 8
    for counts, texts in [
        (mixed.by_source["books"], books),
        (mixed.by_source["films"], films),
        (mixed.by_language["ko"], ["책"]),
        (mixed.by_language["und"], ["the film"]),
        (mixed.by_language["en"], books[1:] + films[:-1]),
    ]:
        assert counts == TokenCounts(
            documents=len(texts),
            bytes=len("".join(texts).encode()),
            tokens=sum(len(TOKENIZER.encode(text).ids) + 1 for text in texts),
            characters=sum(len("".join(text.split())) for text in texts),
            unknown=0,
            unknown_characters=0,
        )
    assert mixed.unused == {"others": 3}
    assert mixed.count("documents") == {"books": 8, "films": 6}


def test_the_mix_is_laid_out_in_the_order_of_its_occurrences(mixed, tmp_path):
    epochs = {"books": 0.5, "films": 2.0}
    counts = packing.lay_out(mixed, epochs, 0, tmp_path / "tokens", 20)
    corpus = TokenCorpus.open(tmp_path / "tokens")
    expected = []
    own = {
        name: [i for i, row in enumerate(DOCUMENTS) if row["sources"][0] == name] for name in mixed.sources
    }
    for sources, numbers, _ in mixing.occurrences({"books": 8, "films": 6}, epochs):
        for source, number in zip(sources.tolist(), numbers.tolist(), strict=True):
            expected.append((mixed.sources[source], own[mixed.sources[source]][number]))
    assert len(expected) == 4 + 12
    assert [(corpus.names[s], r) for s, r in zip(corpus.sources, corpus.rows, strict=True)] == expected
    texts = words(corpus)
    assert texts == [DOCUMENTS[row]["text"] for _, row in expected]
    assert counts == {
        "documents": len(texts),
        "tokens": corpus.total_tokens,
        "bytes": len("".join(texts).encode()),
    }


def test_neither_files_nor_processes_show(mixed, tmp_path):
    epochs = {"books": 1.5, "films": 1.0}
    packing.lay_out(mixed, epochs, 0, tmp_path / "tokens", 20)
    (tmp_path / "again").mkdir()
    with shards.processes(2) as parallel_map:
        again = encoded(
            tmp_path / "again",
            DOCUMENTS,
            TOKENIZER,
            sources=mixed.sources,
            files=2,
            parallel_map=parallel_map,
        )
    assert (again.by_source, again.by_language) == (mixed.by_source, mixed.by_language)
    packing.lay_out(again, epochs, 0, tmp_path / "again" / "tokens", 20)
    for file in (tmp_path / "tokens").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / "tokens" / file.name).read_bytes()


def test_rows_are_counted_on_through_batches_and_files(tmp_path):
    rows = [document(f"film {i}", "films" if i % 7 else "books") for i in range(2500)]
    packing.lay_out(
        encoded(tmp_path, rows, TOKENIZER, ["films"], files=2), {"films": 1.0}, 0, tmp_path / "t", 999
    )
    corpus = TokenCorpus.open(tmp_path / "t")
    assert corpus.rows.tolist() == [i for i in range(2500) if i % 7]
    assert words(corpus) == [rows[i]["text"] for i in corpus.rows]


def test_one_pass_of_no_document_is_an_error(tmp_path):
    nothing = encoded(tmp_path, DOCUMENTS, TOKENIZER, sources=["songs"])
    assert nothing.by_source == {}
    with pytest.raises(InputError, match="validation: no document is of songs"):
        packing.lay_out(nothing, {"songs": 1.0}, 0, tmp_path / "validation", 10)


def test_a_text_cannot_forge_the_end_of_a_document(tmp_path):
    corpus = packed(tmp_path, [f"good {END_OF_TEXT} evil"], TOKENIZER)
    assert (corpus.window(0, corpus.total_tokens) == 0).sum() == 2


def test_tokens_are_as_narrow_as_the_vocabulary_allows_and_mapped(tmp_path):
    (shard,) = packed(tmp_path / "narrow", ["the film"], TOKENIZER).shards
    assert shard.dtype == np.uint16
    assert isinstance(shard.base, np.memmap)
    wide = trained([], 258)
    wide.add_tokens([f"<{i}>" for i in range(2**16)])
    corpus = packed(tmp_path / "wide", ["<65535>"], wide)
    assert corpus.window(1, 1).tolist() == [wide.token_to_id("<65535>")]


def test_windows_are_int64_and_end_with_the_corpus(tmp_path):
    corpus = packed(tmp_path, ["the film"], TOKENIZER)
    assert corpus.window(0, 2).dtype == np.int64
    for start, length in [(-1, 1), (0, corpus.total_tokens + 1), (corpus.total_tokens, 1), (2, -1)]:
        with pytest.raises(IndexError, match="outside a corpus"):
            corpus.window(start, length)


def test_no_corpus(tmp_path):
    with pytest.raises(InputError, match="holds no token shards: run the stage tokenize"):
        TokenCorpus.open(tmp_path / "nothing")
