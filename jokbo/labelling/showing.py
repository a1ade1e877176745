"""Text of a model or of a person, made fit for a page: it is never markup, and nothing in it stays unseen."""

from __future__ import annotations

import unicodedata

from markupsafe import Markup, escape

KEPT = "\n\t\u200c\u200d"  # line and tab; the joiners, by which Persian and emoji are written
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format (right-to-left marks), half a character, separators


def visible(text: str) -> Markup:
    """Return the text escaped, with a mark that names it in the place of each character that nobody would see."""
    shown, plain = [], []
    for each in text.replace("\r\n", "\n"):
        if each in KEPT or unicodedata.category(each) not in UNSEEN:
            plain.append(each)
            continue
        shown += [escape("".join(plain)), Markup('<span class="unseen">U+{:04X}</span>').format(ord(each))]
        plain = []
    return Markup("").join([*shown, escape("".join(plain))])
