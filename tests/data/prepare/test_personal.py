from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.prepare.personal import masked

KINDS = ["email", "phone", "ip"]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("email", "Mail me at John.Doe+films@mail.example.co.uk.", "Mail me at <email>."),
        ("email", "(a_b@c-d.org)bits@midohio.net", "(<email>)<email>"),
        ("email", "메일은 kim@naver.com으로", "메일은 <email>으로"),
        ("phone", "call (212) 555-0123 now", "call <phone> now"),
        ("phone", "212-456-7890, 212.456.7890 or 2124567890", "<phone>, <phone> or <phone>"),
        ("phone", "+44 20 7946 0958", "<phone>"),
        ("phone", "전화 010-1234-5678, 02-312-3456", "전화 <phone>, <phone>"),
        ("phone", "031 123 4567로 하세요", "<phone>로 하세요"),
        ("ip", "from 8.8.8.8, or 208.67.222.222.", "from <ip>, or <ip>."),
        ("ip", "at 2001:4860:4860::8888 or [2a00:1450:4001:81b:0:0:0:200e]", "at <ip> or [<ip>]"),
    ],
)
def test_masked(kind, text, expected):
    found = expected.count(f"<{kind}>")
    assert masked(text, [kind]) == (expected, {kind: found})
    assert masked(text, KINDS) == (expected, dict.fromkeys(KINDS, 0) | {kind: found})
    others = [other for other in KINDS if other != kind]
    assert masked(text, others)[0] == text or kind == "ip"


@pytest.mark.parametrize(
    "text",
    [
        "10/10, 7.5/10 (1,234,567,890 votes) and 8 out of 10",
        "from 1988-1992, 1899-1902 and 1588-1600",
        "1939-1945 / 1950-1953, 1776 1812 1865",
        "2001 2003 04, 2012 2013 14",
        "$1,000,000 or $ 100 000 000, 1000000000 of them",
        "the 1930s 40s 50s 60s 70s 80s",
        "90-95 minutes, 24 fps, 1:85:1, 2.35:1",
        "2020.3.1. 2020.4.15., 2020-03-01 12:30:45, 9/11/2001 10:30",
        "ISBN 0-306-40615-2, tt0123456789, 12345678901234",
        "3.14159265358979 and 1 2 3 4 5 6 7 8 9 10",
        "6·25 전쟁 1950.6.25, 5·18과 1,234,567,890원",
        "127.0.0.1, 192.168.0.1, 10.0.0.255, 0.0.0.0, 224.0.0.251, ::1, fe80::1, ff02::1",
        "size2001:4860:4860::8888, add::cafe",
        "version 1.2.3.4.5, section 300.1.2.3, at 10:30:45",
        "std::abc, a@b, me @ home . com, @someone",
        "x" * 65 + "@example.com",
    ],
)
def test_what_films_are_written_about_stays(text):
    assert masked(text, KINDS) == (text, dict.fromkeys(KINDS, 0))


@given(st.text(alphabet="0123456789 .-()+@ab:/\n"), st.sets(st.sampled_from(KINDS)))
def test_marks_stay_and_counts_are_of_marks(text, kinds):
    once, counts = masked(text, sorted(kinds))
    assert counts == {kind: once.count(f"<{kind}>") for kind in kinds}
    assert masked(once, ["email", "ip"])[0] == once or not {"email", "ip"} <= kinds


@pytest.mark.parametrize(
    "text", ["a" * 10**6, "a." * 10**6, "a@" * 10**6, "1." * 10**6, "a@" + "b." * 10**6, ":1" * 10**6]
)
def test_a_long_run_takes_no_longer_than_it_is(text):
    start = time.process_time()
    masked(text, ["email", "ip"])
    assert time.process_time() - start < 5
