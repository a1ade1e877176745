"""What holds for sources of each kind: names, labels, documents, empty and too long texts."""

from __future__ import annotations

import gzip

import pytest

from jokbo.data.fetch.sources import read_source
from jokbo.runtime.errors import InputError
from tests.data.conftest import files, local
from tests.data.fetch.reading import DOWNLOADS, parquet, read, texts


def test_rows_come_before_the_source_is_read_whole(project):
    local("a.txt", b"one\n")
    local("b.txt", b"\xff")
    rows = read_source("mine", files("*", "txt"), DOWNLOADS, 100)
    assert next(rows)["text"] == "one"
    with pytest.raises(InputError, match=r"data/local/b\.txt:1 is not UTF-8"):
        next(rows)


def test_too_long_texts_are_told_from_none(project):
    local("a.txt", b"short\n" + b"long " * 9)
    local("b.txt", b"longer" * 9)
    assert [row and row["text"] for row in read("mine", files("*.txt", "txt"), 10)] == ["short", None, None]
    with pytest.raises(
        InputError, match=r"fetch\.sources\.mine holds no text of at most .*maximum_bytes, 10"
    ):
        read("mine", files("b.txt", "txt"), 10)


def test_files_that_are_all_empty(project):
    local("corpus/a.txt", b"")
    local("corpus/b.txt", b" \n")
    with pytest.raises(InputError, match=r"all 2 files are empty, as data/local/corpus/a\.txt: fill it"):
        read("mine", files("corpus", "txt"))


@pytest.mark.parametrize(
    ("documents", "found"),
    [
        ("line", ["one", "two", "three"]),
        ("paragraph", ["one\ntwo", "three"]),
        ("file", ["one\ntwo\n \n\nthree"]),
    ],
)
def test_what_a_document_of_a_txt_is(project, documents, found):
    local("a.txt", b"\n\none\ntwo\n \n\nthree\n\n")
    assert texts("a.txt", "txt", documents=documents) == found
    local("b.txt", b"one\n\n" + b"long " * 9 + b"\n" + b"long " * 9)
    long = {"line": ["one", None, None], "paragraph": ["one", None], "file": [None]}[documents]
    source = files("*.txt", "txt", documents=documents)
    assert [row and row["text"] for row in read("mine", source, 20)] == found + long


@pytest.mark.parametrize(
    ("name", "format", "content"),
    [
        ("a.txt", "txt", b""),
        ("a.txt", "txt", b"\n \n"),
        ("a.csv", "csv", b""),
        ("a.csv", "csv", b"text\n"),
        ("a.jsonl.gz", "jsonl", b""),
        ("a.jsonl.gz", "jsonl", gzip.compress(b"", mtime=0)),
        ("a.parquet", "parquet", b""),
        ("a.parquet", "parquet", parquet()),
    ],
)
def test_empty_files(project, name, format, content):
    local(name, content)
    with pytest.raises(InputError, match=rf"data/local/{name} is empty: fill it, or take it out"):
        read("mine", files("*", format))


@pytest.mark.parametrize("name", ["", "..", "a/b", "so, what?"])
def test_names_of_sources(project, name):
    local("a.jsonl", b'{"text": "x", "source": "%s"}\n' % name.encode())
    with pytest.raises(InputError, match=r"fetch\.sources: .* is no name for a source"):
        read(name, files("*", "jsonl"))
    if name:  # a row that names none is of the entry's own
        with pytest.raises(InputError, match=r"a\.jsonl:1: .* is no name for a source"):
            read("mine", files("*", "jsonl", {"source": "source"}))


@pytest.mark.parametrize(
    ("name", "said"), [("all", "a meaning"), ("sources.json", "a meaning"), ("길" * 34, "no name")]
)
def test_names_that_stand_for_something_else_or_are_too_long(project, name, said):
    local("a.txt", b"one\n")
    with pytest.raises(InputError, match=f"fetch.sources: .* {said}"):
        read(name, files("*", "txt"))


@pytest.mark.parametrize("labels", [("-1", "1"), ("-1.0", "1"), ("", "-1", "1")])
def test_labels_of_minus_one_and_one_are_refused(project, labels):
    """Minus one would be taken for unlabelled, and every negative text lost."""
    local(
        "a.csv", "\n".join(["text,label", *(f"Film {i},{label}" for i, label in enumerate(labels))]).encode()
    )
    with pytest.raises(InputError, match=r"labels of fetch\.sources\.mine are -1 and 1, never 0: write 0"):
        read("mine", files("*", "csv", {"text": "text", "label": "label"}))


@pytest.mark.parametrize("labels", [("-1", "-1"), ("-1", "0", "1"), ("1", "")])
def test_minus_one_is_unlabelled(project, labels):
    local(
        "a.csv", "\n".join(["text,label", *(f"Film {i},{label}" for i, label in enumerate(labels))]).encode()
    )
    rows = read("mine", files("*", "csv", {"text": "text", "label": "label"}))
    assert [row["label"] for row in rows] == [label if label in "01" and label else None for label in labels]
