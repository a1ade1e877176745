"""The words of texts as hashes, of many texts together. Near-duplicates and shared n-grams are found by them.

A word is what is between white space, without all but letters, marks and numbers, under NFKC and with case folded. The
words of a text, joined, are its key (`cleaning.normalised`). In a script without spaces a line is one word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

# 2**64 over the golden ratio. It is 5 modulo 8, so its powers modulo 2**64 repeat as late as possible.
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 2**64)


class _WordTable(dict[int, int | None]):
    """A table for `str.translate` that keeps letters, marks and numbers and makes white space a space."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        kept = unicodedata.category(character)[0] in "LMN"
        self[code] = code if kept else ord(" ") if character.isspace() else None
        return self[code]


_WORD_TABLE = _WordTable()


def spaced(text: str) -> str:
    """Return the words of a text with white space between them: `spaced(text).split()` are the words."""
    return unicodedata.normalize("NFKC", text).casefold().translate(_WORD_TABLE)


def hashed(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of the words of all texts, uint64 [words], and how many words each text has, int64 [texts].

    A hash depends on the word alone, on every machine. A byte of text takes about 25 bytes of memory: hash a megabyte
    at a time.
    """
    encoded = [spaced(text).encode() for text in texts]
    data = np.frombuffer(b" ".join((*encoded, b"")), np.uint8)  # a space after each
    ends = np.flatnonzero(data == ord(" "))
    starts = np.concatenate((np.zeros(min(len(ends), 1), np.int64), ends[:-1] + 1))
    worded = ends > starts
    starts, ends = starts[worded], ends[worded]
    # A polynomial of a word's bytes, as a difference of two running sums.
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(data * _powers(_BASE, len(data)), out=sums[1:])
    hashes = _mixed((sums[ends] - sums[starts]) * _powers(_INVERSE, len(data))[starts])
    text_ends = np.cumsum([len(text) + 1 for text in encoded], dtype=np.int64)
    return hashes, np.diff(np.searchsorted(starts, text_ends), prepend=0)


def runs(hashes: np.ndarray, counts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of every `length` words in a row, uint64 [runs], and how many each text has, int64 [texts].

    hashes, counts: as `hashed` gives them. No run goes from one text into the next, so a shorter text has none.
    """
    total = max(len(hashes) - length + 1, 0)
    last_starts = np.repeat(np.cumsum(counts) - length, counts)[:total]
    inside = np.arange(total) <= last_starts
    joined = combined(hashes[first : first + total] for first in range(length))
    return joined[inside], np.maximum(counts - length + 1, 0)


def combined(columns: Iterable[np.ndarray]) -> np.ndarray:
    """Return one hash, uint64, for each row of several columns; the order of the columns matters."""
    total = np.zeros(1, np.uint64)
    for column in columns:
        total = total * np.uint64(_BASE) + column
    return _mixed(total)


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the values sorted, each once. `np.unique` hashes first since NumPy 2.3, which is 80 times slower here."""
    values = np.sort(values)
    return values[np.append(True, values[1:] != values[:-1])[: len(values)]]


def _powers(base: int, count: int) -> np.ndarray:
    """Return base**0, base**1, ... modulo 2**64: uint64 [count]."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, out=powers)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return the values mixed over all 64 bits, one to one: the finaliser of MurmurHash3 (Appleby 2011)."""
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(multiplier)
    return values ^ (values >> np.uint64(33))
