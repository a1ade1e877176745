"""Text as people wrote it, out of text as the web delivered it; and the key under which two texts are one."""

from __future__ import annotations

import html
import re
import unicodedata

_BREAK = re.compile(r"</?(?:br|hr|p|div|li)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]+|#x[0-9a-f]+|[a-z][a-z0-9]*);", re.IGNORECASE)
_SPACES = re.compile(r"[^\S\n]+")
_AROUND_NEWLINE = re.compile(r" *\n *")
_BLANK_LINES = re.compile(r"\n{3,}")

_UNWANTED: dict[int, str | None] = {
    **dict.fromkeys(range(0x20)),
    0x7F: None,
    0xFEFF: None,  # byte order mark
    **dict.fromkeys(range(0xD800, 0xE000)),  # halves of surrogate pairs: no UTF-8 can hold them
    # A C1 control in a text is a Windows-1252 byte that was read as Latin-1: 1,394 IMDb dashes are U+0096.
    **{code: bytes([code]).decode("cp1252", errors="ignore") or None for code in range(0x80, 0xA0)},
}
for _kept in "\t\n\v\f\r\x1c\x1d\x1e\x1f":  # white space, which is folded later
    del _UNWANTED[ord(_kept)]


def clean(text: str) -> str:
    """The text without HTML, control characters and stray white space, in Unicode normal form C.

    HTML breaks become newlines; runs of spaces become one, runs of blank lines one blank line. Entities are
    read once and after the tags, so that a quoted `&lt;br&gt;` stays as the reader would have seen it.
    """
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = unicodedata.normalize("NFC", text.translate(_UNWANTED))
    text = _SPACES.sub(" ", text)
    return _BLANK_LINES.sub("\n\n", _AROUND_NEWLINE.sub("\n", text)).strip()


class _KeyTable(dict[int, int | None]):
    """A table for `str.translate` that keeps letters, marks and numbers, and learns each character once."""

    def __missing__(self, code: int) -> int | None:
        self[code] = code if unicodedata.category(chr(code))[0] in "LMN" else None
        return self[code]


_KEY_TABLE = _KeyTable()


def normalised(text: str) -> str:
    """The key of a text: two texts with one key are one document, whatever their case, spaces, punctuation.

    Compatibility forms are folded (NFKC), case is folded, and only letters, marks and numbers stay. Empty for
    a text without any. Marks stay because in Indic scripts they are the vowels.
    """
    return unicodedata.normalize("NFKC", text).casefold().translate(_KEY_TABLE)
