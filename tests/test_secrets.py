"""Passwords, tokens and signatures in URLs are never shown; the rest of a text is."""

from __future__ import annotations

import pytest

from jokbo.secrets import hidden


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
        ("hf://datasets/org/name@rev/x.csv", "hf://datasets/org/name@rev/x.csv"),
    ],
)
def test_what_may_be_secret_is_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert hidden(text) == shown
