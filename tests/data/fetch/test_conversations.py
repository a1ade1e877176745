"""Conversations are rows as texts are, from any format; what is no conversation is left out, counted and named."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jokbo.data.fetch.sources import read_source
from jokbo.data.files.left_out import Read
from jokbo.data.files.rows import RAW_SCHEMA
from jokbo.data.tables import open_table, write_shards
from jokbo.runtime.errors import InputError
from tests.data.conftest import files, local
from tests.data.fetch.reading import DOWNLOADS

TALK = [{"role": "user", "content": "Why, then?"}, {"role": "assistant", "content": "So."}]
MESSAGES = {"messages": "messages"}


def taken(paths: str, format: str, columns: dict[str, str]):
    read = Read()
    return list(read.taken(read_source("mine", files(paths, format, columns), DOWNLOADS, 1000))), read


def lines(*records: object) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def as_csv() -> bytes:
    quoted = json.dumps(TALK).replace('"', '""')
    return f'messages\n"{quoted}"\n'.encode()


def as_parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"messages": [TALK]}), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("format", "content", "columns"),
    [
        ("jsonl", lines({"messages": TALK}), MESSAGES),
        ("csv", as_csv(), MESSAGES),
        ("parquet", as_parquet(), MESSAGES),
        ("csv", b'q,a\n"Why, then?",So.\n', {"prompt": "q", "completion": "a"}),
        ("jsonl", lines({"instruction": "Why, then?", "output": "So."}), {"instruction": "instruction"}),
    ],
)
def test_every_format_gives_the_conversation_and_its_text(project, format, content, columns) -> None:
    local(f"a.{format}", content)
    (row,), _ = taken(f"a.{format}", format, columns)
    assert row["turns"] == TALK
    assert (row["text"], row["source"], row["label"]) == ("Why, then?\n\nSo.", "mine", None)
    write_shards([row, {"text": "no talk", "source": "b"}], project / "raw", RAW_SCHEMA)
    assert [each["turns"] for each in open_table(project / "raw")] == [TALK, None]


def test_what_is_no_conversation_is_left_out_counted_and_named(project) -> None:
    bad = [TALK[:1], [*TALK, TALK[1]], [TALK[1], TALK[0]], [{"role": "tool", "content": "x"}, *TALK]]
    local("a.jsonl", lines(*({"messages": talk} for talk in [TALK, *bad])))
    rows, read = taken("a.jsonl", "jsonl", MESSAGES)
    assert len(rows) == 1
    assert (read.conversations(), read.files()) == (4, 0)
    assert "2 conversations left out, with roles out of order (data/local/a.jsonl:3, " in read.line()
    assert "1 conversation left out, with an unknown role (data/local/a.jsonl:5)" in read.line()


def test_a_source_without_any_conversation_is_refused_with_its_first_row(project) -> None:
    local("a.jsonl", lines({"messages": TALK[:1]}, {"messages": TALK[:1]}))
    with pytest.raises(
        InputError, match=r"no conversation is left, as data/local/a\.jsonl:1 is one without an"
    ):
        taken("a.jsonl", "jsonl", MESSAGES)


def test_a_conversation_that_is_too_long_is_left_out_as_a_text_is(project) -> None:
    local("a.jsonl", lines({"messages": TALK}, {"messages": [TALK[0], {**TALK[1], "content": "x" * 990}]}))
    rows, read = taken("a.jsonl", "jsonl", MESSAGES)
    assert len(rows) == 1
    assert "1 text longer than fetch.maximum_bytes" in read.line()


def test_a_column_that_is_not_there_is_refused(project) -> None:
    local("a.jsonl", lines({"messages": TALK}))
    with pytest.raises(InputError, match="has no column 'talk': it has 'messages'"):
        taken("a.jsonl", "jsonl", {"messages": "talk"})
