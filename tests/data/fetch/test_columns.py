"""The columns of a row: labels, sources and ratings."""

from __future__ import annotations

import pyarrow as pa
import pytest

from jokbo.data.files.rows import UNLABELLED
from jokbo.runtime.errors import InputError
from tests.data.fetch.contents import parquet


@pytest.mark.parametrize(
    ("written", "label"),
    [
        *(("0", "0"), ('"0.0"', "0"), ("1.0", "1"), ('"1"', "1"), ('" 1 "', "1"), ("true", "1")),
        *(
            ("12", "12"),
            ('"billing"', "billing"),
            ('" late\\n delivery "', "late delivery"),
            ('"환불"', "환불"),
        ),
        *((nothing, None) for nothing in ("null", '""', '" "', "NaN")),
        *((minus, UNLABELLED) for minus in ("-1", '"-1.0"')),
    ],
)
def test_ways_to_write_a_label(read, written, label):
    rows = read("a.jsonl", b'{"text": "x", "label": %s}\n' % written.encode(), {"label": "label"})
    assert [row["label"] for row in rows] == [label]


@pytest.mark.parametrize("written", ["0.5", "[1]", "Infinity", '"%s"' % ("x" * 101), '"a\\u0007"'])
def test_bad_label(read, written):
    with pytest.raises(InputError, match=r"a\.jsonl:1: label is .*: write a word of at most 100"):
        read("a.jsonl", b'{"text": "x", "label": %s}\n' % written.encode(), {"label": "label"})


@pytest.mark.parametrize("written", ["5", '"biling"', '"Bug"'])
def test_a_label_that_is_not_declared(read, written):
    content = b'{"text": "x", "label": null}\n{"text": "x", "label": %s}\n' % written.encode()
    with pytest.raises(
        InputError, match=r"a\.jsonl:2: label is .*, which is none of fetch.sources.mine.labels"
    ):
        read("a.jsonl", content, {"label": "label"}, labels=("billing", "bug"))
    assert len(read("a.jsonl", content, {"label": "label"}, labels=("5", "biling", "Bug"))) == 2


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


def test_other_texts_are_in_the_order_of_their_columns(read):
    content = b"q,label,b,a\nwhy?,2,because,no\n"
    columns = {"text": "q", "others.0": "a", "others.1": "b", "label": "label"}
    (row,) = read("a.csv", content, columns)
    assert (row["text"], row["others"], row["label"]) == ("why?", ["no", "because"], "2")
    with pytest.raises(InputError, match=r"a\.jsonl:1: column 'b' is 3, not text"):
        read("a.jsonl", b'{"text": "x", "b": 3}\n', {"others.0": "b"})
    assert read(
        "a.jsonl", b'{"text": "x", "b": "much too long for it"}\n', {"others.0": "b"}, maximum=19
    ) == [None]
