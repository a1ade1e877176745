"""A corpus as one long row of tokens in memory-mapped shards.

Each document is followed by the end-of-text token, as for GPT-2: it ends one document and is the context in
which the next begins. The stream itself begins with one, so that this holds for the first document too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from jokbo.data import shards
from jokbo.data.corpus import mixing
from jokbo.data.corpus.tokenizer import END_OF_TEXT, encode_texts
from jokbo.data.outputs import read_batches
from jokbo.data.tally import Tally, total
from jokbo.runtime.errors import InputError
from jokbo.runtime.progress import progress


@dataclass(frozen=True)
class Encoded:
    """Documents of the sources as tokens: a folder a file of documents, and in it NUMBER.npz for each source."""

    sources: list[str]
    folders: list[Path]
    rows: list[int]  # in each file, also those of other sources
    facts: dict[
        str, Any
    ]  # sources/NAME and languages/CODE: what is counted; unused/NAME: documents not in the mix

    def count(self, what: str) -> dict[str, int]:
        """Of each source: `documents`, `bytes`, `tokens` (end-of-text marks too) or `unknown` ones."""
        held = self.facts["sources"]
        return {name: held[name][what] if name in held else 0 for name in self.sources}

    def documents(self, name: str) -> Iterator[tuple[np.ndarray, int, int]]:
        """One pass over a source: tokens with the end-of-text mark, row among all documents, UTF-8 bytes."""
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
    spread: shards.Spread = map,
) -> Encoded:
    """Encodes files of documents (outputs.shard_files) under FOLDER/STEP, one a call; `tokenizer` is tokenizer.json."""
    items = {f"{number:05d}": file for number, file in enumerate(files)}
    work = partial(encode_shard, tokenizer, list(sources))
    facts = shards.run(step, work, items, folder, spread)
    rows = [fact.pop("rows") for fact in facts.values()]
    empty = {"sources": {}, "languages": {}, "unused": {}}
    counted = {**empty, **total(list(facts.values()))}
    return Encoded(list(sources), [folder / step / name for name in items], rows, counted)


def encode_shard(tokenizer: Path, sources: Sequence[str], file: Path, path: Path) -> shards.Facts:
    """Encodes one file of documents into a new folder: for each source tokens, lengths, rows and bytes.

    Tokens are uint16 where the vocabulary allows, else uint32. A text that spells the end-of-text marker is
    encoded as the characters it is.
    """
    encoder = Tokenizer.from_file(str(tokenizer))
    end = encoder.token_to_id(END_OF_TEXT)
    dtype = np.uint16 if encoder.get_vocab_size() <= 2**16 else np.uint32
    held = [{"tokens": [np.empty(0, dtype)], "lengths": [], "rows": [], "bytes": []} for _ in sources]
    tally, first = Tally(), 0
    for batch in read_batches(file):
        owners = mixing.owners(batch, sources)
        rows = np.flatnonzero(owners >= 0)
        chosen = batch.take(pa.array(rows))
        texts, languages = chosen["text"].to_pylist(), chosen["language"].to_pylist()
        for origins in batch["sources"].filter(pa.array(owners < 0)).to_pylist():
            for source in origins:
                tally.add("unused", source)
        encodings = encode_texts(encoder, texts)
        for row, text, language, (ids, counted) in zip(
            rows.tolist(), texts, languages, encodings, strict=True
        ):
            size, owner = len(text.encode()), int(owners[row])
            found = {"tokens": np.array([*ids, end], dtype), "lengths": len(ids) + 1}
            for what, value in {**found, "rows": first + row, "bytes": size}.items():
                held[owner][what].append(value)
            counts = {**counted, "documents": 1, "bytes": size, "tokens": len(ids) + 1}
            for kind, name in (("sources", sources[owner]), ("languages", language)):
                for what, number in counts.items():
                    tally.add(kind, name, what, count=number)
        first += len(batch)
    path.mkdir()
    for number, arrays in enumerate(held):
        tokens = np.concatenate(arrays.pop("tokens"))
        whole = {name: np.array(values, np.int64) for name, values in arrays.items()}
        np.savez(path / f"{number}.npz", tokens=tokens, **whole)  # pyright: ignore[reportArgumentType]  # all are arrays
    return {**tally.facts(), "rows": first}


def lay_out(
    encoded: Encoded, epochs: Mapping[str, float], end_of_text: int, path: Path, shard_tokens: int
) -> dict[str, int]:
    """Writes the mix of encoded documents as a corpus that `TokenCorpus.open` (token_corpus) opens.

    shard-NNNNN.npy: the tokens, `shard_tokens` of them to all but the last; documents.npy: where each entry starts,
    and the end; rows.npy: the row of each entry's document; sources.npy and sources.json: its source and their names.
    Returns the numbers of documents (entries: one gone through twice counts twice), tokens and UTF-8 bytes.
    Raises InputError if there is no document.
    """
    documents = encoded.count("documents")
    entries = sum(mixing.entry_count(documents[name], epochs[name]) for name in documents)
    if not entries:
        raise InputError(f"{path.name}: no document is of {', '.join(encoded.sources)}: name other sources")
    path.mkdir(parents=True, exist_ok=True)
    starts, rows = np.ones(entries + 1, np.int64), np.empty(entries, np.int64)
    sources, places = np.empty(entries, np.uint16), {name: i for i, name in enumerate(encoded.sources)}
    sizes: Counter[str] = Counter()

    def pieces() -> Iterator[np.ndarray]:
        stream = mixing.interleaved(encoded.documents, documents, epochs)
        for entry, (name, (tokens, row, size)) in enumerate(progress(stream, path.name, total=entries)):
            starts[entry + 1] = starts[entry] + len(tokens)
            rows[entry], sources[entry] = row, places[name]
            sizes["bytes"] += size
            if entry == 0:
                yield np.array([end_of_text], tokens.dtype)
            yield tokens

    _write_shards(pieces(), path, shard_tokens)
    np.save(path / "documents.npy", starts)
    np.save(path / "rows.npy", rows)
    np.save(path / "sources.npy", sources)
    (path / "sources.json").write_text(json.dumps(encoded.sources) + "\n")
    return {"documents": entries, "tokens": int(starts[-1]), "bytes": sizes["bytes"]}


def _write_shards(pieces: Iterator[np.ndarray], path: Path, shard_tokens: int) -> None:
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
