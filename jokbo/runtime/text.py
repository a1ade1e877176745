"""Text that comes from elsewhere, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text on one line, with what a terminal would act on, such as an escape, written out."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
