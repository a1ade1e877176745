"""Text as people wrote it, out of text as the web delivered it; and the key by which two texts are the same.

A cleaning step is a function from text to text. `prepare.clean` names the steps in the order in which they run. HTML
should be read before encodings are repaired, as ftfy does: an entity may spell half a broken character.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Callable, Sequence

import ftfy
from ftfy.badness import is_bad

from jokbo.data.exclusions import tried

_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    remove_control_chars=False,
    normalization="NFC",
    explain=False,
)

_BREAK = re.compile(r"</?(?:br|hr|p|div|li)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]+|#x[0-9a-f]+|[a-z][a-z0-9]*);", re.IGNORECASE)

_LONGEST_ENTITY = 100  # characters; the longest name has 33, and Python refuses numbers of over 4,300 digits
_NO_CHARACTER = "\ufffd"

_UNWANTED: dict[int, str | None] = {
    **dict.fromkeys(range(0x20)),
    0x7F: None,
    0xFEFF: None,  # byte order mark
    **dict.fromkeys(range(0xD800, 0xE000)),  # halves of surrogate pairs: no UTF-8 can hold them
    # A C1 control in a text is a Windows-1252 byte that was read as Latin-1. So 1,394 dashes of IMDb are U+0096.
    **{code: bytes([code]).decode("cp1252", errors="ignore") or None for code in range(0x80, 0xA0)},
}
for _kept in "\t\n\v\f\r\x1c\x1d\x1e\x1f":  # white space, which a later step folds
    del _UNWANTED[ord(_kept)]
_ANY_UNWANTED = re.compile("[" + "".join(map(re.escape, map(chr, _UNWANTED))) + "]")

_NOTICE_CHARACTERS = 200  # a longer line is prose that mentions such words
_NOTICES = (  # a line with one of them is removed; C4's own list is first
    *("javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies"),
    *("use cookies", "all rights reserved", "copyright ©", "copyright (c)"),
    *("자바스크립트", "쿠키를 사용", "쿠키 정책", "이용약관", "개인정보처리방침", "개인정보 처리방침"),
    *("무단전재", "무단 전재", "재배포 금지", "재배포금지"),
)
_BUTTON = re.compile(  # a line that is a button and nothing else, with its dots and arrows
    r"\W*(?:(?:read|show|see|load|learn) more|click here|continue reading|skip to (?:main )?content|back to top"
    r"|(?:subscribe|sign up|sign in|log in|register)(?: (?:now|here|today|to our newsletter))?"
    r"|(?:share|tweet|pin|email|print) this(?: (?:page|post|article))?|(?:leave|post) a (?:comment|reply)|advertisement"
    r"|더 ?보기|자세히 ?보기|로그인|회원 ?가입|구독(?: ?하기)?|공유(?: ?하기)?|(?:본문|메뉴)? ?바로 ?가기"
    r"|이전 ?글|다음 ?글|맨 ?위로|인쇄(?: ?하기)?|댓글 ?(?:쓰기|달기)|광고)\W*",
    re.IGNORECASE,
)
_MENU = re.compile(
    r"\s*[^|>»\u203a]{1,30}(?:\s[|>»\u203a]+\s[^|>»\u203a]{1,30}){2,}\s*"
)  # Home > News > Today

# Hangul: a period ends a sentence after the endings of speech and after the forms of address, but not in a list
# (한.미.일), where no space is missing. A number with a bracket is a footnote's. Latin: two small letters come before
# and a capitalised word after, so U.S.A., e.g., 3.5, node.js and what looks like a host's name are left alone.
_OPENS = r"(?=[^\W_]|[\u2018“「『(<【《])(?!\d{1,3}\))"
_SENTENCE_END = re.compile(
    rf"[.?](?:(?<=[다까요죠][.?])|(?<=시오[.?])|(?<=러분[.?])|(?<=[각폐]하[.?])){_OPENS}"
    rf"|!(?<=[가-힣!]!){_OPENS}"
    r"|[.?!](?<=[a-z][a-z][.?!])(?!(?:Com|Net|Org|Edu|Gov)\b)(?=(?:[A-Z][a-z]+|I|A)[\s,'\u2019])"
)

_BLANK_LINES = re.compile(r"\n{3,}")


def cleaner(names: Sequence[str]) -> Callable[[str], str]:
    """Return one function that applies the cleaning steps of these names (jokbo.params.Cleaner) in order.

    It raises Failed, which names the step, if a step fails on a text.
    """
    steps = [functools.partial(tried, name, CLEANERS[name]) for name in names]
    return lambda text: functools.reduce(lambda text, step: step(text), steps, text)


def unicode(text: str) -> str:
    """Return the text with its encoding repaired line by line (ftfy: "sÃ£o" was "são") and in normal form C.

    Curly quotes, ligatures, wide forms and HTML stay as they are.
    """
    if text.isascii():
        return text
    return ftfy.fix_text(text, _FTFY) if is_bad(text) else unicodedata.normalize("NFC", text)


def without_html(text: str) -> str:
    """Return the text without tags; breaks and paragraphs become newlines.

    Entities are read once, after the tags. So a quoted `&lt;br&gt;` stays as a reader saw it.
    """
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", text))
    return unescaped(text)


def unescaped(text: str) -> str:
    """Return the text with its entities replaced by the characters that they stand for."""
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(match: re.Match[str]) -> str:
    """Return the character of an entity: U+FFFD if its number is longer than any character's, as in HTML."""
    return html.unescape(match[0]) if len(match[0]) < _LONGEST_ENTITY else _NO_CHARACTER


def without_control_characters(text: str) -> str:
    """Return the text without control characters, byte order marks and halves of surrogate pairs.

    White space stays. C1 controls become the characters that Windows-1252 has in their stead.
    """
    return text.translate(_UNWANTED) if _ANY_UNWANTED.search(text) else text


def without_boilerplate_lines(text: str) -> str:
    """Return the text without the lines of a page that are notices, buttons or menus, in English or Korean.

    It follows C4 (Raffel et al. 2020, section 2.2), which removes lines that mention JavaScript, cookies or terms of
    use, and every page with "lorem ipsum". C4's other rules, on lines without a full stop and on braces, would remove
    titles and code. Here a line of more than 200 characters always stays.
    """
    if "lorem ipsum" in text.lower():
        return ""
    return "\n".join(line for line in text.split("\n") if not _is_boilerplate(line))


def _is_boilerplate(line: str) -> bool:
    if len(line) > _NOTICE_CHARACTERS:
        return False
    lowered = line.lower()
    return (
        any(notice in lowered for notice in _NOTICES)
        or _BUTTON.fullmatch(line) is not None
        or _MENU.fullmatch(line) is not None
    )


def with_missing_spaces(text: str) -> str:
    """Return the text with a space between sentences where it is missing: "합니다.그리고", "end.The"."""
    return _SENTENCE_END.sub(_spaced, text)


def _spaced(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 80) : match.start()].split()[-1]
    return match[0] if "://" in before or "www." in before or "@" in before else match[0] + " "


def with_plain_white_space(text: str) -> str:
    """Return the text with single spaces, with single blank lines, and with neither at its ends."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


CLEANERS: dict[str, Callable[[str], str]] = {
    "unicode": unicode,
    "html": without_html,
    "control_characters": without_control_characters,
    "boilerplate_lines": without_boilerplate_lines,
    "missing_spaces": with_missing_spaces,
    "white_space": with_plain_white_space,
}
