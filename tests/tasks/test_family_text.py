"""The stage family_text, whole, on documents of a few words and one package that holds all it asks for."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import load_from_disk
from transformers import AutoTokenizer

from jokbo import params
from jokbo.comparison.texts import COUNTS, LEXICON, TASKS, TRANSLATIONS
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.data.prepare.documents import DOCUMENT_SCHEMA
from jokbo.data.tables import write_shards
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from tasks.family_text import family_text
from tasks.frame import projects
from tasks.frame.paths import FAMILY_DATA, FAMILY_DOCUMENTS, METRICS
from tests.conftest import ROOT

SETTINGS = projects.load(ROOT / "family")
SPLITS = {"train": 60, "prompts": 12, "validation": 12, "test": 12}
CATALOGUE = 'msgid "Save the file"\nmsgstr "파일 저장"\n\nmsgid "Delete it"\nmsgstr "지우기"\n'
TEXTS = {
    "words": {"kind": "wordpiece", "vocabulary": 300, "normalisation": "nfkc", "lowercase": True},
    "bytes": {"kind": "byte_bpe", "vocabulary": 258, "normalisation": "none", "lowercase": False},
    "both": {"kind": "wordpiece", "vocabulary": 300, "normalisation": "nfkc", "lowercase": True},
}


def documents(split: str) -> list[dict[str, Any]]:
    """Reviews with a label, the last one with a sign of its own, and snippets with ratings of mean -2, 0 and 2."""
    first = 100 * list(SPLITS).index(split)
    rows = []
    for i in range(first, first + SPLITS[split]):
        review = {"text": f"Film {i}, a film.", "sources": ["imdb"], "label": str(i % 2), "ratings": None}
        ratings = [3 * (i % 3) - 3, i % 3 - 1]
        snippet = {"text": f"Tweet {i}!", "sources": ["tweets"], "label": None, "ratings": ratings}
        rows += [{**row, "language": "en"} for row in (review, snippet)]
    rows[-2]["text"] += "§§§"
    return rows


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder, with the chain's documents above it."""
    (tmp_path / "family").mkdir()
    monkeypatch.chdir(tmp_path / "family")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for split in SPLITS:
        write_shards(documents(split), FAMILY_DOCUMENTS / split, DOCUMENT_SCHEMA)
    (FAMILY_DOCUMENTS / "dataset_dict.json").write_text(json.dumps({"splits": list(SPLITS)}))


def package() -> dict[str, str]:
    """A package with translations and a lexicon, in the store of what was downloaded."""
    downloads = Path(".jokbo/downloads")
    downloads.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(downloads / "zip", "w") as opened:
        for name, content in {
            "a/locale/ko_KR/LC_MESSAGES/django.po": CATALOGUE,
            "a/vader_sentiment_lexicon.txt": "good\t1.9\t0.9\nbad\t-2.5\t0.6\n",
        }.items():
            opened.writestr(zipfile.ZipInfo(name), content)
    digest = hashlib.sha256((downloads / "zip").read_bytes()).hexdigest()
    (downloads / "zip").rename(downloads / digest)
    return {"requirement": "toy==1.0", "sha256": digest}


def run(workers: int = 1, **changes: object) -> None:
    shutil.rmtree(".jokbo", ignore_errors=True)  # finished shards would only be put together again
    pinned = package()
    section = SETTINGS.family_text.model_dump() | {
        "shard_tokens": 500,
        "texts": {
            name: {**text, "sample_bytes": 10**6, "maximum_unknown": 0.5} for name, text in TEXTS.items()
        },
        "translations": {**pinned, "text": "both"},
        "lexicon": pinned,
        "tasks": {"reviews": {"sources": ["imdb"]}, "snippets": {"sources": ["tweets"], "neutral": 0.5}},
        **changes,
    }
    family_text(
        SimpleNamespace(
            name="family_text",
            params=params.FamilyText.model_validate(section),
            compute=SETTINGS.compute.model_copy(update={"workers": workers}),
            checkpoints=Path(".jokbo/checkpoints/family_text").resolve(),
            run=tracking.Run(),
        )
    )


def tasks() -> dict[str, Any]:
    return {name: load_from_disk(FAMILY_DATA / TASKS / name) for name in ("reviews", "snippets")}


def test_each_text_is_a_tokenizer_and_the_corpus_in_its_tokens():
    run()
    found = json.loads((METRICS / "family_text.json").read_text())["texts"]
    for name in TEXTS:
        tokenizer = AutoTokenizer.from_pretrained(FAMILY_DATA / name / "tokenizer")
        assert found[name]["vocabulary"] == len(tokenizer)
        assert 0 < found[name]["unigram_entropy"] < 8
        for split in ("train", "validation"):
            corpus, counts = TokenCorpus.open(FAMILY_DATA / name / split), found[name][split]
            texts = [row["text"] for row in documents(split) if row["sources"] == ["imdb"]]
            assert (counts["tokens"], counts["documents"]) == (corpus.total_tokens, len(texts))
            assert (
                counts["bytes_per_token"] == sum(len(text.encode()) for text in texts) / corpus.total_tokens
            )
            tokens = corpus.window(0, corpus.total_tokens)
            if name == "bytes":
                assert tokenizer.decode(tokens) == "".join(f"<|endoftext|>{text}" for text in [*texts, ""])
            else:
                assert (tokens == tokenizer.unk_token_id).any() == (name == "both")
    assert found["bytes"]["vocabulary"] == 258


def test_the_tokenizer_of_the_translations_knows_both_languages_alike():
    """It has seen the beginning of the documents only, as many bytes as there are of Korean."""
    run()
    words, both = (
        AutoTokenizer.from_pretrained(FAMILY_DATA / name / "tokenizer").get_vocab()
        for name in ("words", "both")
    )
    assert {"film", "§"} < words.keys()
    assert {"film", "저장", "지우기", "save"} < both.keys()
    assert "§" not in both
    assert "저장" not in words


def test_tasks_have_the_labelled_rows_of_their_sources_and_splits():
    """Labels are as given, or the side of the mean rating; ratings in the middle give none."""
    run()
    of = {"train": ["train"], "validation": ["validation"], "test": ["prompts", "test"]}
    reviews, snippets = tasks().values()
    for split, parts in of.items():
        rows = [row for part in parts for row in documents(part)]
        labelled = {row["text"]: int(row["label"]) for row in rows if row["sources"] == ["imdb"]}
        rated = {
            row["text"]: int(sum(row["ratings"]) > 0)
            for row in rows
            if row["ratings"] and any(row["ratings"])
        }
        for found, expected in ((reviews[split], labelled), (snippets[split], rated)):
            assert found.column_names == ["text", "label"]
            assert len(found) == len(expected)
            assert dict(zip(*found.to_dict().values(), strict=True)) == expected


def test_no_text_is_in_two_splits():
    run()
    for task in tasks().values():
        texts = [text for rows in task.values() for text in rows["text"]]
        assert len(set(texts)) == len(texts)


def test_training_rows_are_in_an_order_of_chance():
    """Of which the seed is the cause, so that the first so many of them are a sample."""
    run()
    first = {name: task["train"]["text"][:] for name, task in tasks().items()}
    run(seed=2)
    other = {name: task["train"]["text"][:] for name, task in tasks().items()}
    for name in first:
        assert sorted(first[name]) == sorted(other[name])
        assert first[name] != other[name]
        assert first[name] != sorted(first[name])


def test_translations_lexicon_and_numbers():
    run()
    assert json.loads((FAMILY_DATA / "both" / TRANSLATIONS).read_text()) == [
        ["Save the file", "파일 저장"],
        ["Delete it", "지우기"],
    ]
    assert json.loads((FAMILY_DATA / LEXICON).read_text()) == {"good": 1.9, "bad": -2.5}
    found = json.loads((METRICS / "family_text.json").read_text())
    assert found == json.loads((FAMILY_DATA / COUNTS).read_text())
    assert (found["translations"], found["lexicon"]) == (2, 2)
    for name, task in tasks().items():
        for split, rows in task.items():
            assert found["tasks"][name][split] == {
                "rows": len(rows),
                "positive": sum(rows["label"]) / len(rows),
            }


def test_outputs_are_the_same_bytes_every_time():
    def contents() -> dict[Path, bytes]:
        files = [path for folder in (FAMILY_DATA, METRICS) for path in folder.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files}

    run()
    before = contents()
    assert len(before) > 40
    run(workers=2)
    assert contents() == before


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"sources": ["imdb", "imbd"]}, "no document is from imbd: there are those from imdb, tweets"),
        ({"sources": ["tweets"]}, "train: no document of tweets has a label: name a source that has"),
        (
            {"sources": ["tweets"], "neutral": 3.0},
            "train: no document of tweets has ratings with a mean beyond 3 of 0: name a source that has",
        ),
    ],
)
def test_bad_task_is_one_line_and_nothing_is_written(task, said):
    with pytest.raises(InputError) as caught:
        run(tasks={"mine": task})
    assert str(caught.value) == f"family_text.tasks.mine: {said}"
    assert not FAMILY_DATA.exists()


def test_task_of_one_class():
    only = [row for row in documents("validation") if row["label"] == "1"]
    write_shards(only, FAMILY_DOCUMENTS / "validation", DOCUMENT_SCHEMA)
    with pytest.raises(InputError) as caught:
        run(tasks={"mine": {"sources": ["imdb"]}})
    assert str(caught.value) == (
        "family_text.tasks.mine: validation: all 6 rows are of class 1: name sources with both classes"
    )


def test_vocabulary_too_small_names_its_text():
    letters = {"text": "".join(map(chr, range(0x4E00, 0x4E00 + 300))), "sources": ["imdb"], "language": "en"}
    rows = [*documents("train"), {**letters, "label": "1", "ratings": None}]
    write_shards(rows, FAMILY_DOCUMENTS / "train", DOCUMENT_SCHEMA)
    with pytest.raises(InputError, match=r"^family_text\.texts\.words: the tokenizer's vocabulary is 300: "):
        run()
