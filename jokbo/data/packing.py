"""A corpus as one long row of tokens in memory-mapped shards.

Each document is followed by the end-of-text token, as for GPT-2: it ends one document and is the context in
which the next begins. The stream itself begins with one, so that this holds for the first document too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from jokbo.data.progress import progress
from jokbo.errors import InputError

BATCH = 1000  # documents encoded at a time


def pack(
    texts: Sequence[str], tokenizer: Tokenizer, end_of_text: int, path: Path, shard_tokens: int
) -> dict[str, int]:
    """Encode texts into shard-NNNNN.npy, of `shard_tokens` tokens but the last, and documents.npy.

    Tokens are uint16 where the vocabulary allows, else uint32. A text that spells the end-of-text marker is
    encoded as the characters it is. Returns the numbers of documents, tokens and UTF-8 bytes.
    """
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    path.mkdir(parents=True, exist_ok=True)
    pending = [np.array([end_of_text], dtype)]
    lengths, shards = [1], 0
    tokenizer.encode_special_tokens = True
    for start in progress(range(0, len(texts), BATCH), f"packing {path.name}"):
        for encoding in tokenizer.encode_batch_fast(texts[start : start + BATCH], add_special_tokens=False):
            pending.append(np.array([*encoding.ids, end_of_text], dtype))
            lengths.append(len(pending[-1]))
        tokens = np.concatenate(pending)
        while len(tokens) > shard_tokens:
            _write_shard(path, shards, tokens[:shard_tokens])
            tokens, shards = tokens[shard_tokens:], shards + 1
        pending = [tokens]
    tokenizer.encode_special_tokens = False
    _write_shard(path, shards, np.concatenate(pending))
    starts = np.cumsum(lengths, dtype=np.int64)
    np.save(path / "documents.npy", starts)
    return {
        "documents": len(texts),
        "tokens": int(starts[-1]),
        "bytes": sum(len(text.encode()) for text in texts),
    }


def _write_shard(path: Path, number: int, tokens: np.ndarray) -> None:
    np.save(path / f"shard-{number:05d}.npy", tokens)


@dataclass(frozen=True)
class TokenCorpus:
    """Shards as one array of `total_tokens` tokens. Document i is [documents[i], documents[i + 1]), its end
    marker included."""

    name: str
    shards: tuple[np.ndarray, ...]
    starts: np.ndarray  # int64: position of each shard's first token
    documents: np.ndarray  # int64, one more than there are documents
    total_tokens: int

    @classmethod
    def open(cls, path: Path) -> TokenCorpus:
        """Map the shards that `pack` wrote; tokens are read when used. Raises InputError without shards."""
        files = sorted(path.glob("shard-*.npy"))
        if not files:
            raise InputError(f"{path} holds no token shards: run the stage tokenize")
        shards = tuple(np.load(file, mmap_mode="r") for file in files)
        ends = np.cumsum([len(shard) for shard in shards], dtype=np.int64)
        starts = np.concatenate([[0], ends[:-1]])
        return cls(str(path), shards, starts, np.load(path / "documents.npy"), int(ends[-1]))

    def window(self, start: int, length: int) -> np.ndarray:
        """Tokens [start, start + length) as int64, across shards. Raises IndexError outside the corpus."""
        if not 0 <= start <= start + length <= self.total_tokens:
            raise IndexError(f"[{start}, {start + length}) is outside a corpus of {self.total_tokens} tokens")
        tokens = np.empty(length, np.int64)
        filled = 0
        shard = int(np.searchsorted(self.starts, start, side="right")) - 1
        while filled < length:
            offset = start + filled - self.starts[shard]
            piece = self.shards[shard][offset : offset + length - filled]
            tokens[filled : filled + len(piece)] = piece
            filled, shard = filled + len(piece), shard + 1
        return tokens
