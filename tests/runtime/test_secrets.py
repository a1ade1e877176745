"""Passwords, tokens and signatures in URLs are never shown; the rest of a text is."""

from __future__ import annotations

import pytest

from jokbo.runtime.secrets import hidden, hidden_in, hidden_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no URL: a@b, x=1?y=2", "no URL: a@b, x=1?y=2"),
        ("https://host:8080/a/b.csv", "https://host:8080/a/b.csv"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://me:secret@host/a", "https://***@host/a"),
        ("at https://me:se/cr@et@host/a: 404", "at https://***@host/a: 404"),
        (
            "postgresql://u:p@h:5432/db and mysql+pymysql://u:q@h/db",
            "postgresql://***@h:5432/db and mysql+pymysql://***@h/db",
        ),
        ("https://token@host/a", "https://***@host/a"),
        (
            "s3://bucket/a?X-Amz-Signature=abc&X-Amz-Date=1#part",
            "s3://bucket/a?X-Amz-Signature=***&X-Amz-Date=***#part",
        ),
        ("'https://h/a?sig=s3cret' failed", "'https://h/a?sig=***' failed"),
        ("see 'https://h/a?sig=s3cret', and b", "see 'https://h/a?sig=***', and b"),
        ("https://u:p'w@host/x", "https://***@host/x"),
        ("https://host/x?sig=AB'S3CRET", "https://host/x?sig=***"),
        ("https://host/f?s3crets3cret", "https://host/f?***"),
        ("https://host/f#access_token=s3cret", "https://host/f#access_token=***"),
        ("https://host/part-?.jsonl", "https://host/part-?.jsonl"),
        (
            "<https://dvc.org/doc/troubleshooting#lock-issue>",
            "<https://dvc.org/doc/troubleshooting#lock-issue>",
        ),
        ("hf://datasets/org/name@rev/x.csv", "hf://datasets/org/name@rev/x.csv"),
    ],
)
def test_what_may_be_secret_is_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert hidden(text) == shown


def test_what_a_driver_repeats_of_a_url_is_hidden_too() -> None:
    url = "ftp://me:s3cret@host/a?sig=a%2Fb%2Fc%2Fd&v=1"
    said = "/a?sig=a/b/c/d of me:s3cret@host, 1 time: s3cret, v=1"
    assert hidden_of(url, said) == "/a?sig=*** of ***@host, 1 time: ***, v=***"
    assert hidden_of("https://host/a", "said of host") == "said of host"
    chained = "zip://a::ftp://me:s3cret@host/a.zip?a=1&download"
    assert hidden_of(chained, "could not download: s3cret") == "could not download: ***"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/my file.csv?sig=s3cret", "https://host/my file.csv?sig=***"),
        ("https://host/a'b?sig=s3cret", "https://host/a'b?sig=***"),
        ("https://u:a/s3cret@host/x", "https://***@host/x"),
        ("https://host:9000/data@v1/x.csv", "https://host:9000/data@v1/x.csv"),
        ("zip://d/*.csv::https://me:s3cret@host/a.zip", "zip://d/*.csv::https://***@host/a.zip"),
        ("https://h/a.csv, https://u:s3cret@h/b", "https://h/a.csv, https://***@h/b"),
        ("simplecache::https://u:s3cret@host/a b#t", "simplecache::https://***@host/a b#t"),
        ("hf://datasets/org/name@rev/x.csv", "hf://datasets/org/name@rev/x.csv"),
        ("s3://bucket/a*/part-?.parquet", "s3://bucket/a*/part-?.parquet"),
    ],
)
def test_a_value_that_is_a_url_may_hold_blanks_and_quotes(url: str, shown: str) -> None:
    assert hidden_in({"paths": url}) == {"paths": shown}
    assert "s3cret" not in hidden_of(url, f"{url}: 404")


def test_texts_of_a_tree_are_hidden() -> None:
    tree = {"a": ["ftp://me:s3cret@host", 1, None], "b": {"c": "text"}}
    assert hidden_in(tree) == {"a": ["ftp://***@host", 1, None], "b": {"c": "text"}}
