from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.cleaning import clean, normalised


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("Bad.<br /><br />Very <i>bad</i>.", "Bad.\n\nVery bad."),
        ("one<BR>two<p class='x'>three", "one\ntwo\nthree"),
        ("a < b and c > d, I <3 it", "a < b and c > d, I <3 it"),
        ("us &amp; them &lt;br&gt; Dvo&#345;&aacute;k &nosuch;", "us & them <br> Dvořák &nosuch;"),
        ("AT&T and Q&A;", "AT&T and Q&A;"),
        ("so\x96called \x93film\x94\x85", "so\u2013called \u201cfilm\u201d\u2026"),
        ("e\u0301te\u0301", "été"),
        ("a\x00b\x08c\x7f\ufeff\x81", "abc"),
        ("  a\t b\u00a0\u3000c  \r\n\r\n\r\n\n d\u2028e ", "a b c\n\nd e"),
        ("half \ud83d pair", "half pair"),
    ],
)
def test_clean(dirty, expected):
    assert clean(dirty) == expected


anything = st.text(st.characters(codec=None))


@given(anything)
def test_cleaned_text_is_normal(text):
    cleaned = clean(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not {c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs")} - {"\n"}
    assert "  " not in cleaned
    assert "\n\n\n" not in cleaned
    assert cleaned == cleaned.strip()
    cleaned.encode()


@given(st.text())
def test_text_without_markup_is_cleaned_once(text):
    cleaned = clean(text.replace("<", "").replace("&", ""))
    assert clean(cleaned) == cleaned


def test_a_distributed_sentence_meets_its_natural_twin():
    distributed = "it's a cookie-cutter movie , a cut-and-paste job ."
    assert normalised(distributed) == normalised("It's a cookie-cutter movie, a cut-and-paste job.")


@pytest.mark.parametrize(
    ("one", "other"),
    [("STRASSE", "straße"), ("ﬁlm № ⑤", "film No 5"), ("한국", unicodedata.normalize("NFD", "한국"))],
)
def test_same_key(one, other):
    assert normalised(one) == normalised(other) != ""


@pytest.mark.parametrize(("one", "other"), [("film 1", "film 2"), ("हिन्दी", "हन्द"), ("cafe", "café")])
def test_other_key(one, other):
    assert normalised(one) != normalised(other)


@given(st.text())
def test_key_does_not_depend_on_spaces_and_punctuation(text):
    key = normalised(text)
    assert normalised(key) == key or not key.isascii()  # NFKC after folding may move on, outside ASCII
    assert normalised(" , ".join(["", text, "!"])) == key
