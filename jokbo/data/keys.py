"""Which texts are the same, and which split a text falls into: its key, and the hash of that."""

from __future__ import annotations

import hashlib
import unicodedata
from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate

DIGEST_BYTES = 16


class _KeyTable(dict[int, int | None]):
    """A table for `str.translate` that keeps letters, marks and numbers. It looks each character up once."""

    def __missing__(self, code: int) -> int | None:
        self[code] = code if unicodedata.category(chr(code))[0] in "LMN" else None
        return self[code]


_KEY_TABLE = _KeyTable()


def normalised(text: str) -> str:
    """Return the key of a text: texts that differ only in case, spaces or punctuation have the same key.

    Compatibility forms are folded (NFKC), case is folded, and only letters, marks and numbers stay. The key of a text
    without any is empty. Marks stay because in Indic scripts they are the vowels.
    """
    return unicodedata.normalize("NFKC", text).casefold().translate(_KEY_TABLE)


def digest(key: str, seed: int) -> bytes:
    """Return the hash of a normalised text and the seed. It decides the split and the order of documents."""
    return hashlib.blake2b(key.encode(), digest_size=DIGEST_BYTES, key=seed.to_bytes(8, "big")).digest()


def partition_of(digest: bytes, partitions: int) -> int:
    """Return the number of the partition, one of so many equal intervals of all digests, that holds this one."""
    return int.from_bytes(digest[:8], "big") * partitions >> 64


def split_of(digest: bytes, splits: Mapping[str, float]) -> str:
    """Return the split whose share of all digests holds this one; the last split takes what rounding leaves.

    splits: the share of each, in order.
    """
    inner_ends = list(accumulate(splits.values()))[:-1]
    return list(splits)[bisect(inner_ends, int.from_bytes(digest[:8], "big") / 2**64)]
