"""A corpus of tokens, read from memory-mapped shards, and the documents that it is made of.

jokbo.data.corpus.packing writes what is read here.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_json


@dataclass(frozen=True)
class TokenCorpus:
    """Shards as one array of `total_tokens` tokens.

    Document i is the tokens [documents[i], documents[i + 1]), its end of text among them. It is row rows[i] of its
    split, read as part of the source names[sources[i]].
    """

    name: str
    shards: tuple[np.ndarray, ...]
    starts: list[int]  # position of each shard's first token
    documents: np.ndarray  # int64, one more than there are documents
    rows: np.ndarray  # int64
    sources: np.ndarray  # uint16
    names: list[str]
    total_tokens: int

    @classmethod
    def open(cls, path: Path) -> TokenCorpus:
        """Return the corpus that `lay_out` wrote; tokens are read when they are used.

        Raises InputError if there is no shard.
        """
        files = sorted(path.glob("shard-*.npy"))
        if not files:
            raise InputError(f"{path} holds no token shards: run the stage tokenize")

        def mapped(file: Path) -> np.ndarray:
            # a plain array over the map: a slice of np.memmap takes longer than the copy of a window's tokens
            return np.load(file, mmap_mode="r").view(np.ndarray)

        shards = tuple(mapped(file) for file in files)
        *starts, total = accumulate(map(len, shards), initial=0)
        documents, rows, sources = (mapped(path / f"{name}.npy") for name in ("documents", "rows", "sources"))
        names = read_json(path / "sources.json")
        return cls(str(path), shards, starts, documents, rows, sources, names, total)

    def window(self, start: int, length: int) -> np.ndarray:
        """Return the tokens [start, start + length), across shards: int64 [length]. Raises IndexError outside them."""
        if not 0 <= start <= start + length <= self.total_tokens:
            raise IndexError(f"[{start}, {start + length}) is outside a corpus of {self.total_tokens} tokens")
        tokens, filled = np.empty(length, np.int64), 0
        shard = bisect_right(self.starts, start) - 1
        while filled < length:
            offset = start + filled - self.starts[shard]
            piece = self.shards[shard][offset : offset + length - filled]
            tokens[filled : filled + len(piece)] = piece
            filled, shard = filled + len(piece), shard + 1
        return tokens
