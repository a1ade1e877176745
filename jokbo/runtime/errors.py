"""What a user did that the project cannot act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

BAD_INPUT = 2  # exit status of who was given something it can't use: trying again won't help
WAITING = 75  # exit status of who waits for people: the same command goes on when they have done their part
MUCH = 0.1  # of what there was: so much left out is said on the terminal


class InputError(Exception):
    """Bad input. The message is one line: the file, key or row, what was found there, and what to do."""


class Waiting(InputError):
    """People have not done their part yet. The message is one line: what is missing, and where they do it."""


def line_of(error: Exception) -> str:
    """Return what an error says, in one line; the name of its type if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def about(location: str) -> Iterator[None]:
    """Put `location`, a key or a file, before the message of an InputError within the block."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{location}: {error}") from error
