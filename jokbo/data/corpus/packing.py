"""A corpus as one long row of tokens in memory-mapped shards.

The end-of-text token follows each document, as in GPT-2: it ends one document and is the context in which the next
begins. The stream begins with one too, so that this holds for the first document.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter
from tokenizers import Tokenizer

from jokbo.data import shards
from jokbo.data.corpus import mixing
from jokbo.data.corpus.tokenizer import encode_texts, end_of_text
from jokbo.data.counts import TokenCounts
from jokbo.data.shards import Tally, total
from jokbo.data.tables import read_batches
from jokbo.runtime.errors import InputError
from jokbo.runtime.progress import progress


@dataclass(frozen=True)
class Encoded:
    """Documents of the sources as tokens: a folder for each file of documents, and in it NUMBER.npz for each source."""

    sources: list[str]
    folders: list[Path]
    rows: list[int]  # documents of each file, those of other sources too
    by_source: dict[str, TokenCounts]  # only sources with documents
    by_language: dict[str, TokenCounts]
    unused: dict[str, int]  # documents that are in none of the sources, by their own source

    def count(self, what: str) -> dict[str, int]:
        """Return one count, a field of TokenCounts such as `tokens`, of each source."""
        return {
            name: getattr(self.by_source[name], what) if name in self.by_source else 0
            for name in self.sources
        }

    def documents(self, name: str) -> Iterator[tuple[np.ndarray, int, int]]:
        """Yield one pass over a source: tokens with the end of text, row among all documents, bytes in UTF-8."""
        first = 0
        for folder, rows in zip(self.folders, self.rows, strict=True):
            with np.load(folder / f"{self.sources.index(name)}.npz") as held:
                tokens, ends = held["tokens"], np.cumsum(held["lengths"]).tolist()
                where, sizes = (held["rows"] + first).tolist(), held["bytes"].tolist()
            for start, end, row, size in zip([0, *ends], ends, where, sizes, strict=False):
                yield tokens[start:end], row, size
            first += rows


def encode(
    step: str,
    files: Sequence[Path],
    tokenizer: Path,
    sources: Sequence[str],
    folder: Path,
    parallel_map: shards.ParallelMap = map,
) -> Encoded:
    """Return files of documents (tables.shard_files) as tokens under FOLDER/STEP; one call encodes one file.

    tokenizer: the file tokenizer.json, with tokenizer_config.json beside it.
    """
    items = {f"{number:05d}": file for number, file in enumerate(files)}
    work = partial(encode_shard, tokenizer, list(sources))
    counted = shards.run(step, work, items, folder, parallel_map)
    rows = [counts.pop("rows") for counts in counted.values()]
    counts, typed = total(list(counted.values())), TypeAdapter(dict[str, TokenCounts])
    return Encoded(
        list(sources),
        [folder / step / name for name in items],
        rows,
        by_source=typed.validate_python(counts.get("sources", {})),
        by_language=typed.validate_python(counts.get("languages", {})),
        unused=counts.get("unused", {}),
    )


def encode_shard(tokenizer: Path, sources: Sequence[str], file: Path, path: Path) -> shards.Counted:
    """Write one file of documents as tokens into a new folder: for each source tokens, lengths, rows and bytes.

    Tokens are uint16 if the vocabulary allows it, else uint32. A text that spells the end-of-text token is encoded as
    the characters that it consists of.
    """
    encoder = Tokenizer.from_file(str(tokenizer))
    end = end_of_text(tokenizer)
    dtype = np.uint16 if encoder.get_vocab_size() <= 2**16 else np.uint32
    held = [{"tokens": [np.empty(0, dtype)], "lengths": [], "rows": [], "bytes": []} for _ in sources]
    tally, first = Tally(), 0
    for batch in read_batches(file):
        indices = mixing.source_indices(batch, sources)
        rows = np.flatnonzero(indices >= 0)
        chosen = batch.take(pa.array(rows))
        texts, languages = chosen["text"].to_pylist(), chosen["language"].to_pylist()
        for unused in batch["sources"].filter(pa.array(indices < 0)).to_pylist():
            for source in unused:
                tally.add("unused", source)
        encodings = encode_texts(encoder, texts)
        for row, text, language, (ids, counted) in zip(
            rows.tolist(), texts, languages, encodings, strict=True
        ):
            size, index = len(text.encode()), int(indices[row])
            found = {"tokens": np.array([*ids, end], dtype), "lengths": len(ids) + 1}
            for what, value in {**found, "rows": first + row, "bytes": size}.items():
                held[index][what].append(value)
            counts = {**counted, "documents": 1, "bytes": size, "tokens": len(ids) + 1}
            for kind, name in (("sources", sources[index]), ("languages", language)):
                for what, number in counts.items():
                    tally.add(kind, name, what, count=number)
        first += len(batch)
    path.mkdir()
    for number, arrays in enumerate(held):
        tokens = np.concatenate(arrays.pop("tokens"))
        whole = {name: np.array(values, np.int64) for name, values in arrays.items()}
        np.savez(path / f"{number}.npz", tokens=tokens, **whole)  # pyright: ignore[reportArgumentType]  # all are arrays
    return {**tally.counts(), "rows": first}


def lay_out(
    encoded: Encoded, epochs: Mapping[str, float], end_of_text: int, path: Path, shard_tokens: int
) -> dict[str, int]:
    """Write the mix of encoded documents as a corpus that `TokenCorpus.open` (token_corpus) opens.

    shard-NNNNN.npy: the tokens, `shard_tokens` in each file but the last. documents.npy: where each occurrence of a
    document starts, and the end. rows.npy: the row of its document. sources.npy and sources.json: its source, and the
    names of the sources.
    Returns the numbers of `documents` (one that is read twice counts twice), `tokens` and UTF-8 `bytes`.
    Raises InputError if there is no document.
    """
    documents = encoded.count("documents")
    occurrences = sum(mixing.occurrence_count(documents[name], epochs[name]) for name in documents)
    if not occurrences:
        raise InputError(f"{path.name}: no document is of {', '.join(encoded.sources)}: name other sources")
    path.mkdir(parents=True, exist_ok=True)
    starts, rows = np.ones(occurrences + 1, np.int64), np.empty(occurrences, np.int64)
    sources, indices = np.empty(occurrences, np.uint16), {name: i for i, name in enumerate(encoded.sources)}
    sizes: Counter[str] = Counter()

    def pieces() -> Iterator[np.ndarray]:
        stream = mixing.interleaved(encoded.documents, documents, epochs)
        for i, (name, (tokens, row, size)) in enumerate(progress(stream, path.name, total=occurrences)):
            starts[i + 1] = starts[i] + len(tokens)
            rows[i], sources[i] = row, indices[name]
            sizes["bytes"] += size
            if i == 0:
                yield np.array([end_of_text], tokens.dtype)
            yield tokens

    _write_shards(pieces(), path, shard_tokens)
    np.save(path / "documents.npy", starts)
    np.save(path / "rows.npy", rows)
    np.save(path / "sources.npy", sources)
    (path / "sources.json").write_text(json.dumps(encoded.sources) + "\n")
    return {"documents": occurrences, "tokens": int(starts[-1]), "bytes": sizes["bytes"]}


def _write_shards(pieces: Iterator[np.ndarray], path: Path, shard_tokens: int) -> None:
    """Write the tokens of all pieces, one after the other, into files of equal size."""
    pending: list[np.ndarray] = []
    held, number = 0, 0
    for piece in pieces:
        pending.append(piece)
        held += len(piece)
        if held > shard_tokens:
            tokens = np.concatenate(pending)
            whole = (held - 1) // shard_tokens * shard_tokens  # the last shard is never empty
            for start in range(0, whole, shard_tokens):
                np.save(path / f"shard-{number:05d}.npy", tokens[start : start + shard_tokens])
                number += 1
            pending, held = [tokens[whole:]], held - whole
    np.save(path / f"shard-{number:05d}.npy", np.concatenate(pending))
