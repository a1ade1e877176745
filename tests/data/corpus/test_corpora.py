from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer

from jokbo.data.corpus import corpora
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.data.corpus.tokenizer import END_OF_TEXT
from jokbo.runtime.errors import InputError
from tests.support.corpora import document, packed, tokenizer_settings, trained, write_documents

MIX = SimpleNamespace(by="epochs", sources={"a": 2.0})
TEXTS = {"train": ["one film", "another film"], "held_out": ["a film"]}


def made(folder, more=()):
    files = {
        split: write_documents(folder / split, [document(text) for text in texts])
        for split, texts in TEXTS.items()
    }
    return encoded_with(files, tokenizer_settings(80, "wordpiece"), folder / "work", more)


def encoded_with(files, own, folder, more=()):
    path = corpora.learned(files["train"], own, MIX, folder, more)
    encoded = corpora.encode(files, path, MIX, folder, map)
    corpora.check_known(encoded["train"], path, own.maximum_unknown, more)
    return encoded, path


def test_train_is_the_mix_and_the_others_are_gone_through_once(tmp_path):
    encoded, learned = made(tmp_path)
    found = corpora.lay_out(encoded, learned, MIX, tmp_path / "tokens", 1000)
    tokenizer = Tokenizer.from_file(str(learned / "tokenizer.json"))
    assert found["train"]["documents"] == 4
    assert found["train"]["bytes"] == 2 * sum(map(len, TEXTS["train"]))
    assert found["held_out"]["documents"] == 1
    corpus = TokenCorpus.open(tmp_path / "tokens/held_out")
    assert tokenizer.decode(corpus.window(0, corpus.total_tokens), skip_special_tokens=False) == (
        f"{END_OF_TEXT} a film {END_OF_TEXT}"
    )
    assert found["held_out"]["bytes_per_token"] == len("a film") / corpus.total_tokens


def test_the_tokenizer_learns_from_more_texts_too(tmp_path):
    without, more = made(tmp_path / "without")[1], made(tmp_path / "more", ["저장 저장"])[1]
    words = [Tokenizer.from_file(str(path / "tokenizer.json")).get_vocab() for path in (without, more)]
    assert ["저장" in vocabulary for vocabulary in words] == [False, True]
    assert "film" in words[1]


def test_a_corpus_that_the_tokenizer_does_not_know_is_refused(tmp_path):
    """It learned from a part of the mix that has none of the other part's script."""
    texts = [*["one film and another film"] * 40, *["сценарий хороший"] * 40]
    files = {"train": write_documents(tmp_path / "train", [document(text) for text in texts])}

    def encode(limit):
        own = tokenizer_settings(80, "wordpiece", sample_bytes=200, maximum_unknown=limit)
        return encoded_with(files, own, tmp_path / f"work-{limit}")

    with pytest.raises(InputError, match=r"of a are unknown to it.*maximum_unknown, which is 0.01"):
        encode(0.01)
    encoded, _ = encode(0.9)
    assert encoded["train"].by_source["a"].unknown > 100


def test_what_is_done_is_not_done_again(tmp_path):
    made(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*")}
    assert made(tmp_path)[1].is_dir()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.json")} == {
        path: time for path, time in times.items() if path.suffix == ".json"
    }


def test_unigram_entropy_token_by_token(tmp_path):
    tokenizer = trained(TEXTS["train"], 258)
    train = packed(tmp_path / "train", TEXTS["train"], tokenizer, shard_tokens=7)
    held_out = packed(tmp_path / "held_out", ["a long zoo"], tokenizer)
    seen = Counter(train.window(0, train.total_tokens).tolist())
    nats = [
        -math.log((seen[token] + 1) / (train.total_tokens + 258))
        for token in held_out.window(0, held_out.total_tokens).tolist()
    ]
    assert seen[tokenizer.token_to_id("z")] == 0
    assert corpora.unigram_entropy(train, held_out, 258) == pytest.approx(sum(nats) / len(nats))
