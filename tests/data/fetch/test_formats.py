from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jokbo.data.fetch.formats import UNLABELLED, read_rows
from jokbo.runtime.errors import InputError


def zipped(*contents: bytes, folder: bool = False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        if folder:
            archive.writestr(zipfile.ZipInfo("folder/"), b"")
        for number, content in enumerate(contents):
            archive.writestr(zipfile.ZipInfo(f"folder/{number}"), content)
    return stream.getvalue()


def parquet_of(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def parquet(**columns) -> bytes:
    return parquet_of(pa.table(columns))


TWICE = parquet_of(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"]))
PACKED = {
    "": lambda content: content,
    ".gz": lambda content: gzip.compress(
        content, mtime=0
    ),  # the same bytes, so the same name of a test, every time
    ".GZ": lambda content: gzip.compress(content, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
    ".zip": lambda content: zipped(content, folder=True),
}
TEXT_FORMATS = {
    "txt": "één film\nvoilà\n".encode(),
    "csv": 'id,text\n1,één film\n2,"voilà"\n'.encode(),
    "jsonl": '{"text": "één film"}\n{"text": "voil\\u00e0"}\n'.encode(),
}
FORMATS = TEXT_FORMATS | {"parquet": parquet(id=[1, 2], text=["één film", "voilà"])}


@pytest.fixture
def read(tmp_path):
    def read(name, content, columns=None, maximum=1_000_000):
        file = tmp_path / "bytes"  # the name that counts is the place's
        file.write_bytes(content)
        format = name.split(".")[1]
        return list(read_rows(file, name, format, {"text": "text"} | (columns or {}), "mine", maximum))

    return read


def texts(rows):
    return [row and row["text"] for row in rows]


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_in_every_compression(read, format, suffix):
    rows = read(f"a.{format}{suffix}", PACKED[suffix](FORMATS[format]))
    assert texts(rows) == ["één film", "voilà"]
    assert rows[0] == {"text": "één film", "source": "mine", "label": None, "ratings": None}


def test_the_query_of_a_url_is_no_suffix(read):
    assert texts(read("https://host/a.txt.gz?from=b.zip", gzip.compress(b"one\n"))) == ["one"]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_all_parts_of_a_concatenated_archive_are_read(read, suffix):
    content = PACKED[suffix](b"one\n") + PACKED[suffix](b"two\n")
    assert texts(read(f"a.txt{suffix}", content)) == ["one", "two"]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("rest", [b"three\n", b"\x01"])
def test_what_follows_a_part_and_is_none_is_not_lost_in_silence(read, suffix, rest):
    damaged = b"\x00" + PACKED[suffix](b"two\n")[1:]
    for content in (PACKED[suffix](b"one\n") + damaged, PACKED[suffix](b"one\n") + rest):
        with pytest.raises(InputError, match=rf"a\.txt\{suffix} cannot be read"):
            read(f"a.txt{suffix}", content)


def test_padding_of_xz_is_none_of_its_content(read):
    packed = PACKED[".xz"]
    found = read("a.txt.xz", packed(b"one\n") + b"\0" * 8 + packed(b"two\n") + b"\0" * 4)
    assert texts(found) == ["one", "two"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("suffix", [suffix for suffix in PACKED if suffix])
def test_truncated_archive(read, format, suffix):
    content = PACKED[suffix](FORMATS[format])
    for end in (len(content) - 1, len(content) // 2, 1):
        with pytest.raises(InputError, match=rf"a\.{format}\{suffix} cannot be read \(.+\)") as caught:
            read(f"a.{format}{suffix}", content[:end])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [suffix for suffix in PACKED if suffix])
def test_archive_that_is_none(read, suffix):
    with pytest.raises(InputError, match=rf"a\.txt\{suffix} cannot be read"):
        read(f"a.txt{suffix}", b"plain text\n" * 9)


def test_damaged_middle_of_an_archive(read):
    content = bytearray(gzip.compress(bytes(range(65, 91)) * 999, compresslevel=0))
    content[5000] ^= 1
    with pytest.raises(InputError, match=r"a\.txt\.gz cannot be read \(CRC"):
        read("a.txt.gz", bytes(content))
    content = bytearray(gzip.compress(b"some text\n" * 999))
    content[12:30] = b"\xff" * 18
    with pytest.raises(InputError, match=r"a\.txt\.gz cannot be read \(Error -3"):
        read("a.txt.gz", bytes(content))


@pytest.mark.parametrize("contents", [(), (b"one\n", b"two\n")])
def test_zip_holds_exactly_one_file(read, contents):
    with pytest.raises(InputError, match=rf"a\.txt\.zip cannot be read \(it holds {len(contents)} files"):
        read("a.txt.zip", zipped(*contents))


def test_zip_with_a_password(read):
    content = bytearray(zipped(b"one\n"))
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + flags] |= 1
    with pytest.raises(InputError, match=r"a\.txt\.zip cannot be read \(.*encrypted"):
        read("a.txt.zip", bytes(content))


def test_what_macos_adds_to_a_zip_is_not_a_second_file(read):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", b"one\n")
        archive.writestr("__MACOSX/._a.txt", b"\0\5\x16\7")
        archive.writestr(".DS_Store", b"\0\0\0\1Bud1")
    assert texts(read("a.txt.zip", stream.getvalue())) == ["one"]


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
LOGIN = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head>\n</html>\n"
DENIED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LFS, "is a git-lfs pointer, .*`git lfs pull`"),
        (b"/annex/objects/MD5E-s1--0.txt\n", "is a git-annex pointer, .*`git annex get`"),
        (b"../.git/annex/objects/a/b/c", "is a git-annex pointer"),
        (b"outs:\n- md5: 0\n  size: 3\n", r"is a \.dvc file, .*`dvc pull`"),
        (b"md5: 0\nfrozen: true\ndeps:\n- path: x\n", r"is a \.dvc file"),
        (LOGIN, "is a web page"),
        (b"\xef\xbb\xbf \n<!-- -->\n<HTML lang='en'>\n", "is a web page"),
        (DENIED, r"is a store's refusal \(AccessDenied\)"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".zip"])
def test_what_stands_where_data_should_be(read, content, said, format, suffix):
    for packed in (content, PACKED[suffix](content)):
        with pytest.raises(InputError, match=rf"a\.{format}{suffix} {said}"):
            read(f"a.{format}{suffix}", packed)


def test_documents_of_html_are_data(read):
    content = b"<html><body>one</body></html>\n<html><body>two</body></html>\n"
    assert len(read("a.txt", content)) == 2
    assert len(read("a.txt", b"version https://git-lfs.example/spec\nouts: none\n")) == 2
    with pytest.raises(InputError, match=r"https://host/a\.txt is a web page"):
        read("https://host/a.txt", content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PACKED[".gz"](b"one\n"), r"is gzip by its first bytes, not text: name it \.gz"),
        (PACKED[".zst"](b"one\n"), "is Zstandard by"),
        (PACKED[".xz"](b"one\n"), "is xz by"),
        (PACKED[".bz2"](b"one\n"), "is bzip2 by"),
        (PACKED[".zip"](b"one\n"), "is a zip"),
        (FORMATS["parquet"], "is Parquet by"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X        \xb0", "is macOS's companion of a file"),
        (b"%PDF-1.7\n", "is PDF by"),
        (b"a" * 257 + b"ustar\0" + b"\0" * 600, "is a tar archive by"),
        ("any words at all, as before\n".encode("utf-16-le"), "has a NUL for every other byte"),
        (b"one\rtwo\rthree\r", "ends its lines with a carriage return alone"),
    ],
)
@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_other_kinds_of_files_than_text(read, content, said, format):
    for suffix in ("", ".gz"):
        with pytest.raises(InputError, match=rf"a\.{format}{suffix} {said}"):
            read(f"a.{format}{suffix}", PACKED[suffix](content))


def test_other_kinds_of_files_than_parquet(read):
    with pytest.raises(InputError, match=r"a\.parquet is gzip by its first bytes, not Parquet: name it \.gz"):
        read("a.parquet", gzip.compress(FORMATS["parquet"]))


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
    found = texts(read_rows(file, "a.csv", "csv", columns, "mine", maximum))
    assert texts(read_rows(file, "a.csv", "csv", columns, "mine", 1000)) == texts_
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
    assert [row["label"] for row in rows[:2]] == [1, UNLABELLED]


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


@pytest.mark.parametrize(
    ("written", "label"),
    [
        *(("0", 0), ('"0.0"', 0), ("1.0", 1), ('"1"', 1), ('" 1 "', 1), ("true", 1)),
        *((nothing, None) for nothing in ("null", '""', '" "', "NaN")),
        *((minus, UNLABELLED) for minus in ("-1", '"-1.0"')),
    ],
)
def test_ways_to_write_a_label(read, written, label):
    rows = read("a.jsonl", b'{"text": "x", "label": %s}\n' % written.encode(), {"label": "label"})
    assert [row["label"] for row in rows] == [label]


@pytest.mark.parametrize("written", ["5", "0.5", '"5"', '"nan"', '"positive"', "[1]", "Infinity"])
def test_bad_label(read, written):
    with pytest.raises(InputError, match=r"a\.jsonl:1: label is .*: write 0"):
        read("a.jsonl", b'{"text": "x", "label": %s}\n' % written.encode(), {"label": "label"})


def test_a_row_that_names_no_source_is_of_the_whole_files(read):
    rows = read("a.jsonl", b'{"text": "x", "from": null}\n{"text": "y", "from": "b"}\n', {"source": "from"})
    assert [row["source"] for row in rows] == ["mine", "b"]
    assert read("a.csv", b"text,from\nx,\n", {"source": "from"})[0]["source"] == "mine"
    assert (
        read("a.parquet", parquet(text=["x"], source=pa.nulls(1)), {"source": "source"})[0]["source"]
        == "mine"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"text": "x", "source": 3}\n', r"a\.jsonl:1: source is 3, not text"),
        (b'{"text": "x", "source": ["b"]}\n', r"a\.jsonl:1: source is \['b'\], not text"),
        (b'{"text": "x", "source": "%s"}\n' % (b"b" * 101), r"a\.jsonl:1: 'b{80}' is no name for a source"),
    ],
)
def test_a_source_that_is_no_name(read, content, said):
    with pytest.raises(InputError, match=said):
        read("a.jsonl", content, {"source": "source"})


def test_ratings_are_kept_and_checked(read):
    content = b'{"text": "good", "votes": [3, -1]}\n{"text": "none", "votes": []}\n'
    assert [row["ratings"] for row in read("a.jsonl", content, {"ratings": "votes"})] == [[3, -1], None]
    with pytest.raises(InputError, match=r"a\.jsonl:1: ratings are \[5\]"):
        read("a.jsonl", b'{"text": "off the scale", "votes": [5]}\n', {"ratings": "votes"})
