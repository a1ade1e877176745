"""Small tokenizers, files of documents and packed corpora for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
from tokenizers import Tokenizer

from jokbo.data.corpus import packing
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.data.corpus.packing import Encoded
from jokbo.data.corpus.tokenizer import save_tokenizer, train_tokenizer
from jokbo.data.prepare.documents import DOCUMENT_SCHEMA
from jokbo.data.shards import ParallelMap
from jokbo.data.tables import shard_files, write_shards


def tokenizer_settings(vocabulary: int, kind: str = "byte_bpe", **changes: object) -> SimpleNamespace:
    settings = {"normalisation": "none", "lowercase": False, "sample_bytes": 10**9, "maximum_unknown": 0.01}
    return SimpleNamespace(kind=kind, vocabulary=vocabulary, **{**settings, **changes})


def trained(texts: Sequence[str], vocabulary: int, kind: str = "byte_bpe", **changes: object) -> Tokenizer:
    return train_tokenizer(texts, tokenizer_settings(vocabulary, kind, **changes))


def document(text: str, *sources: str, language: str = "en") -> dict[str, object]:
    return {
        "text": text,
        "sources": sorted(sources or ["a"]),
        "label": None,
        "ratings": None,
        "language": language,
    }


def write_documents(path: Path, documents: Sequence[Mapping[str, object]], files: int = 1) -> list[Path]:
    """Write them as so many Arrow files, in order."""
    size = -(-len(documents) // files)
    found = []
    for number in range(files):
        part = path / str(number)
        write_shards(documents[number * size : (number + 1) * size], part, pa.schema(DOCUMENT_SCHEMA))
        found += shard_files(part)
    return found


def encoded(
    path: Path,
    documents: Sequence[Mapping[str, object]],
    tokenizer: Tokenizer,
    sources: Sequence[str] = ("a",),
    files: int = 1,
    parallel_map: ParallelMap = map,
) -> Encoded:
    save_tokenizer(tokenizer, path / "tokenizer")
    written = write_documents(path / "documents", documents, files)
    return packing.encode(
        "encode", written, path / "tokenizer" / "tokenizer.json", sources, path, parallel_map
    )


def packed(path: Path, texts: Sequence[str], tokenizer: Tokenizer, shard_tokens: int = 1000) -> TokenCorpus:
    """Return the corpus of these texts, one after the other."""
    documents = encoded(path, [document(text) for text in texts], tokenizer)
    packing.lay_out(documents, {"a": 1.0}, 0, path / "tokens", shard_tokens)
    return TokenCorpus.open(path / "tokens")
