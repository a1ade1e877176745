"""What a user did that the project cannot act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """Bad input. The message is one line: the file, key or row, what was found there, and what to do."""


@contextmanager
def about(place: str) -> Iterator[None]:
    """Within it, the message of an InputError gets `place`, a key or a file, before it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def printable(text: str) -> str:
    """The text on one line, with what a terminal would act on, such as an escape, written out."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
