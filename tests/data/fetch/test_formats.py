"""The readers of txt, csv, jsonl and parquet: rows, limits, encodings, and bad files."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jokbo.data.files.formats import read_rows
from jokbo.data.files.rows import UNLABELLED, Origin
from jokbo.runtime.errors import InputError
from tests.data.fetch.contents import FORMATS, TEXT_FORMATS, TWICE, parquet, texts


@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_byte_order_marks(read, format):
    assert texts(read(f"a.{format}", b"\xef\xbb\xbf" + TEXT_FORMATS[format])) == ["één film", "voilà"]
    for encoding in ("utf-16", "utf-32"):
        with pytest.raises(InputError, match=rf"a\.{format} is UTF-16 by its first two bytes: convert"):
            read(f"a.{format}", TEXT_FORMATS[format].decode().encode(encoding))


@pytest.mark.parametrize(("encoding", "line"), [("cp949", "좋은 영화"), ("cp1252", "déjà vu")])
@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_first_line_of_another_encoding_is_named(read, format, encoding, line):
    document = {"txt": "{}\n", "csv": "3,{}\n", "jsonl": '{{"text": "{}"}}\n'}[format].format(line)
    content = TEXT_FORMATS[format] + document.encode(encoding) * 2
    number = TEXT_FORMATS[format].count(b"\n") + 1
    offset = len(TEXT_FORMATS[format] + document.encode(encoding).partition(line.encode(encoding))[0])
    offset += next(i for i, byte in enumerate(line.encode(encoding)) if byte > 127)
    said = (
        rf"a\.{format}:{number} is not UTF-8: byte {offset} is 0x{content[offset]:02x}; .*from {encoding}\?"
    )
    with pytest.raises(InputError, match=said):
        read(f"a.{format}", content)


def test_nul_bytes_are_left_to_the_cleaning(read):
    assert texts(read("a.txt", b"a\0b\n")) == ["a\0b"]
    assert texts(read("a.csv", b'text\na\0b\n"\0"\n')) == ["a\0b", "\0"]
    assert texts(read("a.jsonl", b'{"text": "a\0b"}\n{"text": "\\u0000"}\n')) == ["a\0b", "\0"]
    assert texts(read("a.parquet", parquet(text=["a\0b"]))) == ["a\0b"]


def test_empty_documents_are_rows_and_blank_lines_are_none(read):
    assert texts(read("a.txt", b"\none\n \n\ntwo")) == ["one", "two"]
    assert texts(read("a.csv", b'text\n""\n\none\n')) == ["", "one"]
    assert texts(read("a.jsonl", b'{"text": ""}\n\n \n{"text": " "}\n')) == ["", " "]
    assert texts(read("a.parquet", parquet(text=["", "one"]))) == ["", "one"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_is_too_long_from_one_byte_over_the_limit(read, end):
    for size in (8, 9, 10, 11, 12, 25, 2**20, 2**21 + 3):
        content = b"x" * size + end + (b"after\n" if end else b"")
        expected = ["x" * size if size <= 10 else None] + (["after"] if end else [])
        assert texts(read("a.txt", content, maximum=10)) == expected
    assert texts(read("a.txt", "é".encode() * 5 + end, maximum=10)) == ["é" * 5]
    assert texts(read("a.txt", "é".encode() * 6 + end, maximum=10)) == [None]


def test_too_long_records_of_each_format(read):
    long = "a, \"quoted\" text\nof 'lines'\n" * 50
    documents = ["one", long, "two, three", long + "x", "four"]
    expected = ["one", None, "two, three", None, "four"]
    lines = io.StringIO()
    csv.writer(lines).writerows([["text"], *([text] for text in documents)])
    objects = "".join(json.dumps({"text": text}) + "\n" for text in documents)
    assert texts(read("a.csv", lines.getvalue().encode(), maximum=100)) == expected
    assert texts(read("a.jsonl", objects.encode(), maximum=100)) == expected
    assert texts(read("a.parquet", parquet(text=documents), maximum=100)) == expected


FIELDS = st.text(alphabet='ab,"\n\r', max_size=40)


@settings(max_examples=300)
@given(texts_=st.lists(FIELDS, max_size=8), others=FIELDS, maximum=st.integers(20, 60))
def test_csv_around_too_long_records_is_read_as_without_a_limit(tmp_path_factory, texts_, others, maximum):
    file = tmp_path_factory.getbasetemp() / "bytes"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([["a", "text"], *([others, text] for text in texts_)])
    columns = {"text": "text"}
    found = texts(read_rows(file, "a.csv", "csv", columns, Origin("mine"), maximum))
    assert texts(read_rows(file, "a.csv", "csv", columns, Origin("mine"), 1000)) == texts_
    assert len(found) == len(texts_)
    for record, whole in zip(found, texts_, strict=True):
        written = io.StringIO()
        csv.writer(written).writerow([others, whole])
        assert record == (whole if len(written.getvalue()) <= maximum else None)


def test_long_text(read):
    assert len(read("a.csv", b"text\n" + b"word " * 100_000)[0]["text"]) == 500_000


def test_csv_with_blanks_after_its_commas(read):
    """They are part of names and fields, as the format has it, and a quote after one quotes nothing."""
    content = b'text, stars\n"A, film", 5\ngood, 1\n'
    assert texts(read("a.csv", content)) == ["A, film", "good"]
    assert texts(read("a.csv", b"label, text\n1, good\n", {"text": " text"})) == [" good"]
    with pytest.raises(InputError, match=r"a\.csv:2 has a quote after a comma and a blank"):
        read("a.csv", b'label, text\n1, "good film"\n', {"text": " text"})


def test_a_carriage_return_within_a_line_is_the_cleanings(read):
    assert texts(read("a.txt", b"Title\rpage\nsecond line\n")) == ["Title\rpage", "second line"]


def test_parquet_of_many_batches_and_types(read):
    columns = {"label": [1, -1] * 500, "text": pa.array([str(i) for i in range(1000)]).dictionary_encode()}
    rows = read("a.parquet", parquet(**columns), {"label": "label"})
    assert texts(rows) == [str(i) for i in range(1000)]
    assert [row["label"] for row in rows[:2]] == ["1", UNLABELLED]


def test_parquet_that_is_not_utf_8(read):
    raw = pa.array([b"good"] * 200 + [b"bad \xff"])
    content = parquet(text=pa.Array.from_buffers(pa.string(), 201, raw.buffers()))
    with pytest.raises(
        InputError, match=r"a\.parquet is not a whole parquet file after row 128: .*UTF8.* 72"
    ):
        read("a.parquet", content)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"text\nx\ry\n", r"a\.csv:2 is not csv: new-line character"),
        ("a.csv", b'text\none\n"two\nthree\nfour\n', r"a\.csv:3 is not csv: unexpected end of data"),
        ("a.csv", b"review,stars\nx,1\n", r"a\.csv has no column 'text': it has 'review', 'stars'"),
        ("a.csv", b"id,text\n1\n", r"a\.csv:2 has 1 fields, not 2"),
        ("a.csv", b'id,text\n1,"a\nb"\n1,one, two\n', r"a\.csv:4 has 3 fields, not 2: quote the text"),
        (
            "a.csv",
            b"A long review of a film" * 9_000 + b"\n",
            r"a\.csv has no column 'text': it has 'A long.{33};",
        ),
        (
            "a.jsonl",
            b'{%s"b": 1}' % b"".join(b'"a%d": 1, ' % i for i in range(999)),
            r"'a9', \.\.\.; name one",
        ),
        (
            "a.jsonl",
            b'{"%s": 1, "%s": 2}' % (b"k" * 9_000, b"k" * 9_000),
            r"two keys of one object are 'k{39};",
        ),
        ("a.jsonl", b'{"text": ["kim.minsu@example.com"]}\n', "column 'text' is of type list, 25 characters"),
        ("a.txt", (b"word " * 500 + b"\r") * 9, r"a\.txt ends its lines with a carriage return alone"),
        ("a.csv", b"text,label,text\nx,1,y\n", r"a\.csv has 2 columns 'text': rename all but one"),
        ("a.csv", b"text;label\nx;1\n", r"a\.csv: its fields are divided by ';': divide them by commas"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', r"a\.jsonl:2 is not JSON"),
        ("a.jsonl", b'{"text": "x", "text": "y"}\n', r"a\.jsonl:1 is not JSON: two keys .* are 'text'"),
        ("a.jsonl", b'[\n{"text": "x"}\n]\n', r"a\.jsonl:1 is not JSON: .*an object a line, not an array"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl:1 is not JSON"),
        ("a.jsonl", b'["text"]\n', r"a\.jsonl:1 holds list, not an object"),
        ("a.jsonl", b'{"body": "x"}\n', r"a\.jsonl:1 has no column 'text': it has 'body'"),
        ("a.jsonl", b'{"text": 3}\n', r"a\.jsonl:1: column 'text' is 3, not text"),
        (
            "a.jsonl",
            b'{"text": [%s1]}' % (b"1," * 99),
            "column 'text' is of type list, 300 characters long, not",
        ),
        ("a.jsonl", b'{"text": "\\ud800"}\n', r"a\.jsonl:1: the text has half a surrogate pair"),
        ("a.parquet", b"PAR1 and no more", r"a\.parquet is not a whole parquet file"),
        ("a.parquet", FORMATS["parquet"][:-20], r"a\.parquet is not a whole parquet file"),
        ("a.parquet", TWICE, r"a\.parquet has 2 columns 'text': rename all but one"),
        ("a.parquet", parquet(body=["x"]), r"a\.parquet has no column 'text': it has 'body'"),
        ("a.parquet", parquet(text=["x", None]), r"a\.parquet, row 2: column 'text' is None, not text"),
        ("a.parquet", parquet(text=[b"x"]), r"a\.parquet, row 1: column 'text' is b'x', not text"),
    ],
)
def test_bad_files(read, name, content, said):
    with pytest.raises(InputError, match=said) as caught:
        read(name, content)
    assert "\n" not in str(caught.value)
