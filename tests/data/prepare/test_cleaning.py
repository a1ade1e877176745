# ruff: noqa: RUF001 - characters that look like others are what is tested
from __future__ import annotations

import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.keys import normalised
from jokbo.data.prepare.cleaning import CLEANERS, cleaner
from jokbo.params import Cleaner

clean = cleaner(["html", "unicode", "control_characters", "white_space"])
anything = st.text(st.characters(codec=None))


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
        ("e&#769;", "é"),  # HTML is read before the normal form is made
    ],
)
def test_clean(dirty, expected):
    assert clean(dirty) == expected


def test_params_can_name_every_cleaner():
    assert set(get_args(Cleaner)) == set(CLEANERS)


@given(anything)
def test_cleaned_text_is_plain(text):
    cleaned = clean(text)
    assert not {c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs")} - {"\n"}
    assert "  " not in cleaned
    assert "\n\n\n" not in cleaned
    assert cleaned == cleaned.strip()
    cleaned.encode()


@given(st.text())
def test_unicode_gives_normal_form_c(text):
    assert unicodedata.is_normalized("NFC", CLEANERS["unicode"](text))


@pytest.mark.parametrize("name", ["control_characters", "boilerplate_lines", "missing_spaces", "white_space"])
@given(text=anything | st.text(alphabet="다요.!?‘(1) 2aA\n@:/w") | st.text(alphabet="log in|> \n"))
def test_a_cleaner_leaves_what_it_made(name, text):
    once = CLEANERS[name](text)
    assert CLEANERS[name](once) == once


@given(st.lists(st.sampled_from(sorted(CLEANERS))), st.text())
def test_cleaners_are_applied_in_the_order_given(names, text):
    expected = text
    for name in names:
        expected = CLEANERS[name](expected)
    assert cleaner(names)(text) == expected


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("sÃ£o Paulo", "são Paulo"),
        ("ì•ˆë…•í•˜ì„¸ìš”", "안녕하세요"),
        ("It’s “so”, ﬁne &amp; ＷＩＤＥ, cafÃ©", "It’s “so”, ﬁne &amp; ＷＩＤＥ, café"),
        ("cafÃ©\nIt’s “so”, ﬁne &amp; ＷＩＤＥ", "café\nIt’s “so”, ﬁne &amp; ＷＩＤＥ"),
        ("Amélie, 冷戰, señor Ñu", "Amélie, 冷戰, señor Ñu"),
        ("fine\nbut cafÃ©\nand Â£5", "fine\nbut café\nand £5"),
    ],
)
def test_unicode(broken, whole):
    assert CLEANERS["unicode"](broken) == whole


@pytest.mark.parametrize(
    "line",
    [
        "Please enable JavaScript to see this page.",
        "We use cookies. Read our Privacy Policy",
        "Copyright © 2020 Someone",
        "Read more »",
        "» Skip to main content",
        "Subscribe to our newsletter!",
        "Home > News > Today",
        "홈 | 소식 | 알림",
        "[더보기]",
        "본문 바로가기",
        "무단 전재 및 재배포 금지",
    ],
)
def test_boilerplate(line):
    remove = CLEANERS["boilerplate_lines"]
    assert remove(f"A film.\n{line}\nThe end.") == "A film.\nThe end."
    prose = f"{line} " + "is what the hero of this film reads on every wall, " * 4
    assert remove(prose) == prose


@pytest.mark.parametrize(
    "line",
    [
        "I could not read more of it.",
        "She has to log in and cookies are baked",
        "A | B",
        "더 보기 좋은 영화",
        "3 > 2",
        "Share it",
    ],
)
def test_not_boilerplate(line):
    assert CLEANERS["boilerplate_lines"](line) == line


def test_a_page_of_filler_goes_whole():
    assert CLEANERS["boilerplate_lines"]("Title\nLorem ipsum dolor sit amet\nend") == ""


@pytest.mark.parametrize(
    ("without", "with_space"),
    [
        ("합니다.그리고 갑니까?네, 가지요.그럼", "합니다. 그리고 갑니까? 네, 가지요. 그럼"),
        ("말씀해 주십시오.이 오.이", "말씀해 주십시오. 이 오.이"),
        ("국민 여러분!저는", "국민 여러분! 저는"),
        ("국민 여러분.「하와이」는", "국민 여러분. 「하와이」는"),
        ("의원님!!정부는", "의원님!! 정부는"),
        ("있습니다.2020년 WTO", "있습니다. 2020년 WTO"),
        ("각하.WTO는", "각하. WTO는"),
        (
            "This is the end.The beginning was better!I left.",
            "This is the end. The beginning was better! I left.",
        ),
    ],
)
def test_missing_spaces(without, with_space):
    assert CLEANERS["missing_spaces"](without) == with_space


@pytest.mark.parametrize(
    "right",
    [
        "한.미.일, 정치.경제, 산.학.연",
        "2020.3.1.에 3.5% 늘어 85년 2.12총선",
        "있습니다.1) 다음",
        "“갔습니다.”라고 했다.’",
        "그는...다시 왔다...그리고",
        "http://x.kr/했다.그리고 www.했다.kr me@봤다.한국",
        "U.S.A. and e.g. this, Ph.D. thesis, J.R.R. Tolkien, 3.5 stars",
        "imdb.com, Amazon.Com is node.js, WWW.Nic.Org",
        "john.smith@example.com http://example.com/end.The way",
        "wait...The end",
    ],
)
def test_no_space_is_missing(right):
    assert CLEANERS["missing_spaces"](right) == right


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
