"""The first three stages, one after the other, on a file of a few hundred lines."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import load_from_disk
from transformers import AutoTokenizer

from jokbo import tracking
from jokbo.data.packing import TokenCorpus
from jokbo.errors import InputError
from jokbo.params import Fetch, Prepare, Tokenize
from tasks.fetch import fetch
from tasks.paths import DOCUMENTS, JUDGE_TEXTS, METRICS, RAW, TOKENIZER, TOKENS
from tasks.prepare import prepare
from tasks.tokenize import tokenize

MINE = {"kind": "files", "paths": "*.csv", "format": "csv", "columns": {"text": "text", "label": "label"}}
SHARES = {"train": 0.6, "prompts": 0.1, "validation": 0.1, "test": 0.1, "judge": 0.1}


def stage(params):
    return SimpleNamespace(name=type(params).__name__.lower(), params=params, run=tracking.Run())


def run_all():
    fetch(stage(Fetch(sources={"mine": MINE})))
    prepare(stage(Prepare(seed=1, splits=SHARES, minimum_words=3)))
    tokenize(stage(Tokenize(vocabulary=300, sources=["mine"], shard_tokens=500)))


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/local").mkdir(parents=True)
    lines = [f"The film number {i} is one to see.,{('0', '1', '')[i % 3]}" for i in range(300)]
    Path("data/local/films.csv").write_text(
        "\n".join(["text,label", *lines, lines[0], "Too short.,1"]) + "\n"
    )
    return tmp_path


def test_from_a_file_to_packed_tokens(project):
    run_all()
    assert load_from_disk(RAW / "mine").num_rows == 302
    documents, judge = load_from_disk(DOCUMENTS), load_from_disk(JUDGE_TEXTS)
    assert set(documents) == {"train", "prompts", "validation", "test"}
    assert set(judge["label"]) == {0, 1}
    texts = [text for split in documents.values() for text in split["text"]] + judge["text"][:]
    assert len(set(texts)) == len(texts)
    prepared = json.loads((METRICS / "prepare.json").read_text())
    assert (prepared["rows/mine"], prepared["merged"], prepared["dropped/short"]) == (302, 1, 1)
    assert prepared["judge_texts"] == len(judge)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    for split in ("train", "validation", "test"):
        corpus = TokenCorpus.open(TOKENS / split)
        first = corpus.window(int(corpus.documents[0]), int(corpus.documents[1] - corpus.documents[0] - 1))
        assert tokenizer.decode(first) == documents[split]["text"][0]
    tokenized = json.loads((METRICS / "tokenize.json").read_text())
    assert tokenized["tokens/train"] == TokenCorpus.open(TOKENS / "train").total_tokens
    assert json.loads((METRICS / "fetch.json").read_text()) == {"rows/mine": 302}


def test_outputs_are_the_same_bytes_every_time(project):
    run_all()
    before = contents(project)
    run_all()
    assert contents(project) == before


def test_one_bad_source_leaves_nothing_of_the_good_ones(project):
    missing = MINE | {"paths": "*.tsv"}
    with pytest.raises(InputError, match="no file matches"):
        fetch(stage(Fetch(sources={"mine": MINE, "other": missing})))
    assert not RAW.exists()
    assert contents(project).keys() == {str(project / "data/local/films.csv")}
