"""From raw rows to documents, shard by shard: no step holds more than a part of the corpus.

    clean   each raw shard: text repaired, language told, rules applied, personal data masked
    merge   each part of the digests: rows of the same text become one document
    match   each part of the band hashes: pairs of near-duplicates, every one verified
    hold    each part of the digests: n-grams of the evaluation documents that stay
    place   each part of the digests: near-duplicates and contaminated documents dropped, the rest split and written

A part is an interval of digests and a split is one too, so that the parts laid end to end are the splits in order.
What a step leaves for the next is cut into the next one's parts, a record batch each. Nothing depends on how many
processes there are or on the order of files.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jokbo.data import failures, shards
from jokbo.data.outputs import a_few, read_batches, shard_files, write_shards
from jokbo.data.prepare import contamination, language, near_duplicates, personal, rules
from jokbo.data.prepare.cleaning import cleaner, normalised
from jokbo.data.prepare.documents import DIGEST_BYTES, DOCUMENT_SCHEMA, digest, merged, part, split_of
from jokbo.data.tally import Tally, total

if TYPE_CHECKING:
    from jokbo.params import Prepare

PART_BYTES = 32 << 20  # of raw shards to a part: what one process works on at a time
FEW = 500  # texts whose words are looked at at once

CLEANED = pa.schema(
    [
        ("digest", pa.binary(DIGEST_BYTES)),
        ("text", pa.string()),
        ("source", pa.string()),
        ("label", pa.int64()),
        ("ratings", pa.list_(pa.int64())),
        ("language", pa.string()),
    ]
)
PLACED = DOCUMENT_SCHEMA.append(pa.field("digest", pa.binary(DIGEST_BYTES)))
BANDS = pa.schema([("hash", pa.uint64()), ("id", pa.uint64())])
NGRAMS = pa.schema([("hash", pa.uint64())])
ROW_BITS = 32  # an id is a part's number and the row in it


def prepare(
    raw: Mapping[str, Path], settings: Prepare, folder: Path, spread: shards.Spread = map
) -> tuple[dict[str, list[Path]], dict[str, Any]]:
    """Shard files of documents (DOCUMENT_SCHEMA) by split, in order, and what was counted on the way.

    raw: folders of raw tables by name. What is in `folder` already is taken for done.
    """
    files = {f"{name}-{i:05d}": file for name in sorted(raw) for i, file in enumerate(shard_files(raw[name]))}
    parts = max(1, -(-sum(file.stat().st_size for file in files.values()) // PART_BYTES))
    numbers = {f"{i:05d}": i for i in range(parts)}
    step = partial(shards.run, folder=folder, spread=spread)

    cleaned = step("clean", partial(clean_shard, settings, parts), files)
    failures.check(total([*cleaned.values()]), settings.maximum_failed)
    origins = [folder / "clean" / name for name in cleaned]
    near, known, merges = folder / "near.npy", folder / "known", folder / "merge"
    merged_ = step("merge", partial(merge_part, settings, parts, origins), numbers)
    matched = step("match", partial(match_part, settings, merges), numbers)
    pairs = np.concatenate([np.load(folder / "match" / name) for name in matched])
    doubles, _ = near_duplicates.clusters(near_duplicates.distinct_pairs(pairs))
    np.save(near, doubles if settings.near_duplicates.drop else doubles[:0])
    held = step("hold", partial(hold_part, settings, parts, merges, near), numbers)
    with known.open("wb") as file:  # sorted, for a part is an interval of hashes
        for i in range(parts):
            grams = (read_part(folder / "hold" / name, i)["hash"].to_numpy() for name in held)
            file.write(contamination.union(grams).data)
    placed = step("place", partial(place_part, settings, merges, near, known), numbers)

    facts = {"merged": 0, "conflicting_labels": 0, "told": {}}
    facts |= total([*cleaned.values(), *merged_.values(), *matched.values(), *placed.values()])
    facts["near_duplicates"] = len(doubles)
    found = facts.get("splits", {})
    facts["splits"] = {split: {"all": 0, **found.get(split, {})} for split in settings.splits.model_dump()}
    splits = {
        split: [file for name in placed for file in shard_files(folder / "place" / name / split)]
        for split in settings.splits.model_dump()
    }
    return splits, facts


def clean_shard(settings: Prepare, parts: int, file: Path, path: Path) -> shards.Facts:
    """One raw shard, cleaned: a record batch of CLEANED for each part."""
    tally = Tally(shown)
    cut: list[list[dict[str, Any]]] = [[] for _ in range(parts)]
    for number, row in enumerate(row for batch in read_batches(file) for row in batch.to_pylist()):
        source = row["source"]
        tally.add("tables", file.parent.name, source)
        tally.add("sources", source, "rows")
        try:
            kept, reason, hits = clean_row(row, settings)
        except failures.Failed as failure:
            reason, place = failure.reason, f"{file.parent.name}/{file.name}, row {number}"
            tally.add("sources", source, "dropped", reason)
            tally.example(reason, digest(place, settings.seed), source, f"{place}: {failure}", row["text"])
            continue
        if reason:
            tally.add("sources", source, "dropped", reason)
            tally.example(reason, kept["digest"], source, kept["text"])
            continue
        for kind, count in hits.items():
            tally.add("sources", source, "masked", kind, count=count)
        cut[part(kept["digest"], parts)].append(kept)
    write_cut(cut, path, CLEANED)
    return tally.facts()


def clean_row(row: dict[str, Any], settings: Prepare) -> tuple[dict[str, Any], str | None, dict[str, int]]:
    """The row as CLEANED has it, why it is dropped if it is, and how many personal data of each kind were masked.

    Raises failures.Failed, which names the step, if one cannot take its text.
    """
    text = cleaner(settings.clean)(row["text"])
    english = not settings.languages or "en" in settings.languages
    of = partial(language.identify, unclear="en" if english else None)
    (code,) = failures.tried("language", of, [text])
    masked, hits = failures.tried("personal_data", personal.masked, text, settings.personal_data)
    failures.tried("utf_8", masked.encode)
    key = failures.tried("normalised", normalised, masked)
    reason = failures.tried("quality", fault, text, key, row["source"], code, settings)
    return {**row, "text": masked, "digest": digest(key, settings.seed), "language": code}, reason, hits


def shown(text: str) -> str:
    """What reports may show of a text; nothing of one in which personal data cannot be looked for."""
    try:
        return failures.tried("personal_data", personal.shown, text)
    except failures.Failed:
        return ""


def fault(text: str, key: str, source: str, code: str, settings: Prepare) -> str | None:
    """Why a cleaned text is dropped, if it is."""
    if not key:
        return "wordless"
    if len(text.split()) < settings.minimum_words:
        return "short"
    if settings.languages and code not in (*settings.languages, "und"):
        return "language"
    if source in settings.quality.sources:
        return rules.failed(text, settings.quality.rules)
    return None


def merge_part(
    settings: Prepare, parts: int, cleaned: Sequence[Path], number: int, path: Path
) -> shards.Facts:
    """The documents of one part, by digest; and their band hashes, cut into parts."""
    tally = Tally()
    rows = [row for file in cleaned for row in read_part(file, number).to_pylist()]
    documents = merged(rows)
    tally.add("merged", count=len(rows) - len(documents))
    table = pa.Table.from_pylist(
        [{**document.row(text), "digest": mark} for (mark, text), document in documents.items()],
        schema=PLACED,
    )
    for source, count in Counter(row["source"] for row in rows).items():
        own = sum(source in document.sources for document in documents.values())
        tally.add("sources", source, "repeated", count=count - own)
    for document in documents.values():
        tally.add("conflicting_labels", count=len(document.labels) > 1)
        tally.add("in_several_sources", count=len(document.sources) > 1)
        for source in document.sources if len(document.labels) > 1 else ():
            tally.add("sources", source, "conflicting_labels")
    path.mkdir()
    write_cut([table], path / "documents", PLACED)

    texts, near = table["text"].to_pylist(), settings.near_duplicates
    wide = [i for i, origins in enumerate(table["sources"].to_pylist()) if set(origins) & set(near.sources)]
    hash_of = partial(
        near_duplicates.band_hashes, shingle_words=near.shingle_words, bands=near.bands, rows=near.rows
    )
    hashes_NB = np.concatenate(
        [hash_of([])] + [hash_of([texts[i] for i in some]) for some in _few(wide, texts)]
    )
    ids_NB = np.broadcast_to((number << ROW_BITS) + np.array(wide, np.uint64)[:, None], hashes_NB.shape)
    bands = pa.table({"hash": hashes_NB.ravel(), "id": ids_NB.ravel()}, schema=BANDS)
    write_cut(by_hash(bands, parts), path / "bands", BANDS)
    return tally.facts()


def match_part(settings: Prepare, merges: Path, number: int, path: Path) -> shards.Facts:
    """Near-duplicates among the documents that share a band hash of this part: ids, uint64 [pairs, 2]."""
    near, tally = settings.near_duplicates, Tally(shown)
    folders = sorted(folder for folder in merges.iterdir() if folder.is_dir())
    bands = pa.Table.from_batches([read_part(folder / "bands", number) for folder in folders], BANDS)
    pairs = near_duplicates.candidates(bands["hash"].to_numpy(), bands["id"].to_numpy())
    rows = dict(zip(np.unique(pairs).tolist(), read_rows(folders, np.unique(pairs)), strict=True))
    shingles = {id: near_duplicates.shingles(row["text"], near.shingle_words) for id, row in rows.items()}
    alike = [near_duplicates.jaccard(shingles[a], shingles[b]) >= near.similarity for a, b in pairs.tolist()]
    for a, b in pairs[np.array(alike, bool)].tolist():
        first, second = rows[a], rows[b]
        tally.example("near_duplicate", second["digest"], second["sources"][0], second["text"], first["text"])
    with open(path, "wb") as file:
        np.save(file, pairs[np.array(alike, bool)])
    return tally.facts()


def hold_part(
    settings: Prepare, parts: int, merges: Path, near: Path, number: int, path: Path
) -> shards.Facts:
    """N-grams of the documents of one part that something is evaluated on, cut into parts."""
    known, shares = settings.decontaminate, settings.splits.model_dump()
    doubles = _in_part(np.load(near, mmap_mode="r"), number)
    table = read_part(merges / f"{number:05d}" / "documents", 0)
    marks = enumerate(table["digest"].to_pylist())
    rows = [i for i, mark in marks if i not in doubles and split_of(mark, shares) in known.splits]
    texts = table["text"].take(pa.array(rows, pa.int64())).to_pylist()
    some = ([texts[i] for i in few] for few in _few(range(len(texts)), texts))
    grams = contamination.union(contamination.ngrams(few, known.ngram) for few in some)
    write_cut(by_hash(pa.table({"hash": grams}, schema=NGRAMS), parts), path, NGRAMS)
    return {}


def place_part(
    settings: Prepare, merges: Path, near: Path, known: Path, number: int, path: Path
) -> shards.Facts:
    """The documents of one part that stay, a folder of shards for each split."""
    tally, shares = Tally(shown), settings.splits.model_dump()
    placed: dict[str, list[dict[str, Any]]] = {split: [] for split in shares}
    rows = read_part(merges / f"{number:05d}" / "documents", 0).to_pylist()
    doubles = _in_part(np.load(near, mmap_mode="r"), number)
    held_out = np.memmap(known, np.uint64, "r") if known.stat().st_size else np.zeros(0, np.uint64)
    asked = [
        i for i in range(len(rows)) if i not in doubles and split_of(rows[i]["digest"], shares) == "train"
    ]
    seen: set[int] = set()
    texts = [row["text"] for row in rows]
    for some in _few(asked if len(held_out) else [], texts):
        hits = contamination.shared([texts[i] for i in some], settings.decontaminate.ngram, held_out)
        seen.update(np.array(some)[hits].tolist())
    for i, row in enumerate(rows):
        mark = row.pop("digest")
        split = split_of(mark, shares)
        reason = None
        if i in doubles:
            reason = "near_duplicate"
        elif i in seen:
            reason = "contaminated"
            tally.example(reason, mark, row["sources"][0], row["text"])
        elif split == "judge" and row["label"] is None:
            reason = "unlabelled"  # nothing that a judge could learn from, and nobody else may read it
        if not reason:
            placed[split].append(row)
        _count(tally, row, split, reason)
    for split, kept in placed.items():
        write_shards(kept, path / split, DOCUMENT_SCHEMA)
    return tally.facts()


def _few(rows: Sequence[int], texts: Sequence[str]) -> Iterator[list[int]]:
    """The rows a few at a time: what is computed for all words of some texts at once takes many times their size."""
    return a_few(rows, lambda row: len(texts[row]), FEW)


def _in_part(ids: np.ndarray, number: int) -> set[int]:
    """Of sorted ids those of one part, as its rows."""
    low, high = np.searchsorted(ids, np.array([number, number + 1], np.uint64) << np.uint64(ROW_BITS))
    return set((ids[low:high] & np.uint64((1 << ROW_BITS) - 1)).tolist())


def _count(tally: Tally, row: Mapping[str, Any], split: str, reason: str | None) -> None:
    """A document in the counts of its split and of each source that it came from."""
    if reason:
        for source in row["sources"]:
            tally.add("sources", source, "dropped", reason)
        return
    told = [str(row["label"])] if row["label"] is not None else []
    told += ["rated" if len(row["ratings"]) > 1 else "rated_once"] if row["ratings"] else []
    for source, what in itertools.product(row["sources"], told):
        tally.add("told", split, source, what)
    tally.add("splits", split, "all")
    for source in row["sources"]:
        tally.add("splits", split, source)
        tally.add("sources", source, "documents")
        tally.add("sources", source, "words", count=len(row["text"].split()))
        tally.add("sources", source, "bytes", count=len(row["text"].encode()))
        tally.add("sources", source, "languages", row["language"])


def by_hash(table: pa.Table, parts: int) -> list[pa.Table]:
    """Its rows by where their `hash` lies: in which of so many equal intervals of the space of hashes."""
    target = (table["hash"].to_numpy() >> np.uint64(32)) * np.uint64(parts) >> np.uint64(32)
    return [table.filter(pa.array(target == i)) for i in range(parts)]


def write_cut(parts: Sequence[pa.Table | list[dict[str, Any]]], path: Path, schema: pa.Schema) -> None:
    """An Arrow file of one record batch a part, each of which can be read alone."""
    with pa.ipc.new_file(str(path), schema) as file:
        for rows in parts:
            table = pa.Table.from_pylist(rows, schema=schema) if isinstance(rows, list) else rows
            batches = table.combine_chunks().to_batches()
            file.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema))


def read_part(path: Path, number: int) -> pa.RecordBatch:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).get_batch(number)


def read_rows(folders: Sequence[Path], ids: np.ndarray) -> Iterator[dict[str, Any]]:
    """The documents of ids in rising order; of each part only what is asked for is read."""
    for number, folder in enumerate(folders):
        wanted = ids[ids >> np.uint64(ROW_BITS) == number] & np.uint64((1 << ROW_BITS) - 1)
        if len(wanted):
            with pa.memory_map(str(folder / "documents")) as file:
                batch = pa.ipc.open_file(file).get_batch(0)
                yield from batch.take(pa.array(wanted)).to_pylist()
