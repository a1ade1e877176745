"""From raw rows to documents, shard by shard: no step holds the whole corpus.

    clean   each raw shard: text is repaired, its language told, rules applied, personal data masked
    merge   each partition of the digests: rows of the same text become one document
    match   each partition of the band hashes: pairs of near-duplicates are found, and each pair verified
    hold    each partition of the digests: n-grams of the evaluation documents that stay are collected
    split   each partition of the digests: near-duplicates and contaminated documents are dropped, the others written

A partition is an interval of digests, and a split is one too. So the partitions, one after the other, are the splits
in order. A step divides what it leaves for the next one into the next one's partitions, a record batch each. Nothing
depends on how many processes there are or on the order of files.

Shape letters: N documents, B bands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jokbo.data import exclusions, shards
from jokbo.data.conversations.turns import SCHEMA, text_of, turns_of
from jokbo.data.counts import Counts
from jokbo.data.keys import DIGEST_BYTES, digest, normalised, partition_of, split_of
from jokbo.data.prepare import contamination, language, near_duplicates, personal, rules
from jokbo.data.prepare.cleaning import cleaner
from jokbo.data.prepare.documents import DOCUMENT_SCHEMA, merged
from jokbo.data.shards import Tally, total
from jokbo.data.tables import a_few, read_batches, shard_files, write_shards

if TYPE_CHECKING:
    from jokbo.params import Prepare

PARTITION_BYTES = 32 << 20  # of raw shards to a partition: what one process works on at a time
FEW = 500  # texts whose words are looked at together

CLEANED = pa.schema(
    [
        ("digest", pa.binary(DIGEST_BYTES)),
        ("text", pa.string()),
        ("source", pa.string()),
        ("label", pa.string()),
        ("ratings", pa.list_(pa.int64())),
        ("language", pa.string()),
        ("others", pa.list_(pa.string())),
        ("turns", SCHEMA),
    ]
)
MERGED = DOCUMENT_SCHEMA.append(pa.field("digest", pa.binary(DIGEST_BYTES)))
BANDS = pa.schema([("hash", pa.uint64()), ("id", pa.uint64())])
NGRAMS = pa.schema([("hash", pa.uint64())])
ROW_BITS = 32  # an id is a partition's number and, in so many bits, the row in it


def prepare(
    raw: Mapping[str, Path], settings: Prepare, folder: Path, parallel_map: shards.ParallelMap = map
) -> tuple[dict[str, list[Path]], Counts]:
    """Return the files of documents (DOCUMENT_SCHEMA) by split, in order, and what was counted on the way.

    raw: folders of raw tables, by name. What is in `folder` already counts as done. Raises InputError if a step failed
    on too many documents.
    """
    files = {f"{name}-{i:05d}": file for name in sorted(raw) for i, file in enumerate(shard_files(raw[name]))}
    partitions = max(1, -(-sum(file.stat().st_size for file in files.values()) // PARTITION_BYTES))
    numbers = {f"{i:05d}": i for i in range(partitions)}
    step = partial(shards.run, folder=folder, parallel_map=parallel_map)

    cleaned = step("clean", partial(clean_shard, settings, partitions), files)
    exclusions.check_failures(Counts.of(total([*cleaned.values()])), settings.maximum_failed)
    clean_files = [folder / "clean" / name for name in cleaned]
    dropped, known, merges = folder / "near.npy", folder / "known", folder / "merge"
    merged_ = step("merge", partial(merge_partition, settings, partitions, clean_files), numbers)
    matched = step("match", partial(match_partition, settings, merges), numbers)
    pairs = np.concatenate([np.load(folder / "match" / name) for name in matched])
    near, _ = near_duplicates.clusters(near_duplicates.distinct_pairs(pairs))
    np.save(dropped, near if settings.near_duplicates.drop else near[:0])
    held = step("hold", partial(hold_partition, settings, partitions, merges, dropped), numbers)
    with known.open("wb") as file:  # it is sorted, for a partition is an interval of hashes
        for i in range(partitions):
            grams = (read_partition(folder / "hold" / name, i)["hash"].to_numpy() for name in held)
            file.write(contamination.union(grams).data)
    divided = step("split", partial(split_partition, settings, merges, dropped, known), numbers)

    names = list(settings.splits.model_dump())
    tree = total([*cleaned.values(), *merged_.values(), *matched.values(), *divided.values()])
    documents = {split: {"all": 0, **tree.get("splits", {}).get(split, {})} for split in names}
    counts = Counts.of({**tree, "splits": documents, "near_duplicates": len(near)})
    splits = {
        split: [file for name in divided for file in shard_files(folder / "split" / name / split)]
        for split in names
    }
    return splits, counts


def clean_shard(settings: Prepare, partitions: int, file: Path, path: Path) -> shards.Counted:
    """Write the cleaned rows of one raw shard, a record batch of CLEANED for each partition."""
    tally = Tally(preview)
    divided: list[list[dict[str, Any]]] = [[] for _ in range(partitions)]
    for number, row in enumerate(row for batch in read_batches(file) for row in batch.to_pylist()):
        source = row["source"]
        tally.add("tables", file.parent.name, source)
        tally.add("sources", source, "rows")
        try:
            kept, reason, hits = clean_row(row, settings)
        except exclusions.Failed as failure:
            reason, where = failure.reason, f"{file.parent.name}/{file.name}, row {number}"
            tally.add("sources", source, "dropped", reason)
            tally.example(reason, digest(where, settings.seed), source, f"{where}: {failure}", row["text"])
            continue
        if reason:
            tally.add("sources", source, "dropped", reason)
            tally.example(reason, kept["digest"], source, kept["text"])
            continue
        for kind, count in hits.items():
            tally.add("sources", source, "masked", kind, count=count)
        divided[partition_of(kept["digest"], partitions)].append(kept)
    write_partitions(divided, path, CLEANED)
    return tally.counts()


def clean_row(row: dict[str, Any], settings: Prepare) -> tuple[dict[str, Any], str | None, dict[str, int]]:
    """Return the row as CLEANED has it, why it is dropped (None: it stays), and how many personal data were masked, by
    kind. Each turn of a conversation is a text of its own there.

    Raises exclusions.Failed, which names the step, if a step fails on its text.
    """
    turns = turns_of(row["turns"] or [{"role": "", "content": row["text"]}])
    turns = tuple(turn._replace(content=cleaner(settings.clean)(turn.content)) for turn in turns)
    text = text_of(turns)
    english = not settings.languages or "en" in settings.languages
    identify = partial(language.identify, unclear="en" if english else None)
    (code,) = exclusions.tried("language", identify, [text])
    found = [
        exclusions.tried("personal_data", personal.masked, turn.content, settings.personal_data)
        for turn in turns
    ]
    turns = tuple(turn._replace(content=masked) for turn, (masked, _) in zip(turns, found, strict=True))
    masked, hits = text_of(turns), total([dict(hits) for _, hits in found])
    exclusions.tried("utf_8", masked.encode)
    key = exclusions.tried("normalised", normalised, masked)
    reason = exclusions.tried("quality", reason_to_drop, text, key, row["source"], code, settings)
    kept = {**row, "text": masked, "digest": digest(key, settings.seed), "language": code}
    if row["others"]:
        clean = cleaner(settings.clean)
        others = [
            exclusions.tried("personal_data", personal.masked, clean(each), settings.personal_data)
            for each in row["others"]
        ]
        kept["others"] = [other for other, _ in others]
        hits = total([hits, *(dict(found) for _, found in others)])
    if row["turns"]:
        kept["turns"] = [turn._asdict() for turn in turns]
        reason = reason or ("empty_turn" if not all(turn.content.strip() for turn in turns) else None)
    return kept, reason, hits


def preview(text: str) -> str:
    """Return what reports may show of a text: nothing, if the search for personal data fails on it."""
    try:
        return exclusions.tried("personal_data", personal.preview, text)
    except exclusions.Failed:
        return ""


def reason_to_drop(text: str, key: str, source: str, code: str, settings: Prepare) -> str | None:
    """Return why a cleaned text is dropped; None if it stays.

    key: its normalised text. code: its language.
    """
    if not key:
        return "wordless"
    if len(text.split()) < settings.minimum_words:
        return "short"
    if settings.languages and code not in (*settings.languages, "und"):
        return "language"
    if source in settings.quality.sources:
        return rules.failed(text, settings.quality.rules)
    return None


def merge_partition(
    settings: Prepare, partitions: int, cleaned: Sequence[Path], number: int, path: Path
) -> shards.Counted:
    """Write the documents of one partition, by digest, and their band hashes, divided into partitions."""
    tally = Tally()
    rows = [row for file in cleaned for row in read_partition(file, number).to_pylist()]
    documents = merged(rows)
    tally.add("merged", count=len(rows) - len(documents))
    table = pa.Table.from_pylist(
        [
            {**document.row(text, others), "digest": digest}
            for (digest, text, others), document in documents.items()
        ],
        schema=MERGED,
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
    write_partitions([table], path / "documents", MERGED)
    write_partitions(by_hash(_bands(table, number, settings), partitions), path / "bands", BANDS)
    return tally.counts()


def _bands(documents: pa.Table, number: int, settings: Prepare) -> pa.Table:
    """Return the band hashes of a partition's documents in which near-duplicates are looked for, as BANDS has them."""
    near, texts = settings.near_duplicates, documents["text"].to_pylist()
    searched = [
        i for i, sources in enumerate(documents["sources"].to_pylist()) if set(sources) & set(near.sources)
    ]
    hash_of = partial(
        near_duplicates.band_hashes, shingle_words=near.shingle_words, bands=near.bands, rows=near.rows
    )
    hashes_NB = np.concatenate(
        [hash_of([])] + [hash_of([texts[i] for i in some]) for some in _few(searched, texts)]
    )
    ids_NB = np.broadcast_to((number << ROW_BITS) + np.array(searched, np.uint64)[:, None], hashes_NB.shape)
    return pa.table({"hash": hashes_NB.ravel(), "id": ids_NB.ravel()}, schema=BANDS)


def match_partition(settings: Prepare, merges: Path, number: int, path: Path) -> shards.Counted:
    """Write the near-duplicates among documents that share a band hash of this partition: ids, uint64 [pairs, 2]."""
    near, tally = settings.near_duplicates, Tally(preview)
    folders = sorted(folder for folder in merges.iterdir() if folder.is_dir())
    bands = pa.Table.from_batches([read_partition(folder / "bands", number) for folder in folders], BANDS)
    pairs = near_duplicates.candidates(bands["hash"].to_numpy(), bands["id"].to_numpy())
    rows = dict(zip(np.unique(pairs).tolist(), read_rows(folders, np.unique(pairs)), strict=True))
    shingles = {id: near_duplicates.shingles(row["text"], near.shingle_words) for id, row in rows.items()}
    alike = [near_duplicates.jaccard(shingles[a], shingles[b]) >= near.similarity for a, b in pairs.tolist()]
    for a, b in pairs[np.array(alike, bool)].tolist():
        first, second = rows[a], rows[b]
        tally.example("near_duplicate", second["digest"], second["sources"][0], second["text"], first["text"])
    with open(path, "wb") as file:
        np.save(file, pairs[np.array(alike, bool)])
    return tally.counts()


def hold_partition(
    settings: Prepare, partitions: int, merges: Path, dropped: Path, number: int, path: Path
) -> shards.Counted:
    """Write the n-grams of the documents of one partition that models are evaluated on, divided into partitions."""
    known, shares = settings.decontaminate, settings.splits.model_dump()
    near = _in_partition(np.load(dropped, mmap_mode="r"), number)
    table = read_partition(merges / f"{number:05d}" / "documents", 0)
    digests = enumerate(table["digest"].to_pylist())
    rows = [i for i, digest in digests if i not in near and split_of(digest, shares) in known.splits]
    texts = table["text"].take(pa.array(rows, pa.int64())).to_pylist()
    some = ([texts[i] for i in few] for few in _few(range(len(texts)), texts))
    grams = contamination.union(contamination.ngrams(few, known.ngram) for few in some)
    write_partitions(by_hash(pa.table({"hash": grams}, schema=NGRAMS), partitions), path, NGRAMS)
    return {}


def split_partition(
    settings: Prepare, merges: Path, dropped: Path, known: Path, number: int, path: Path
) -> shards.Counted:
    """Write the documents of one partition that stay, a folder of shards for each split."""
    tally, shares = Tally(preview), settings.splits.model_dump()
    divided: dict[str, list[dict[str, Any]]] = {split: [] for split in shares}
    rows = read_partition(merges / f"{number:05d}" / "documents", 0).to_pylist()
    near = _in_partition(np.load(dropped, mmap_mode="r"), number)
    training = [
        i for i, row in enumerate(rows) if i not in near and split_of(row["digest"], shares) == "train"
    ]
    contaminated = _contaminated(training, [row["text"] for row in rows], known, settings)
    for i, row in enumerate(rows):
        digest = row.pop("digest")
        split = split_of(digest, shares)
        reason = None
        if i in near:
            reason = "near_duplicate"
        elif i in contaminated:
            reason = "contaminated"
            tally.example(reason, digest, row["sources"][0], row["text"])
        elif split == "judge" and row["label"] is None:
            reason = "unlabelled"  # the judge could learn nothing from it, and no other stage may read it
        if not reason:
            divided[split].append(row)
        _count(tally, row, split, reason)
    for split, kept in divided.items():
        write_shards(kept, path / split, DOCUMENT_SCHEMA)
    return tally.counts()


def _contaminated(rows: Sequence[int], texts: Sequence[str], known: Path, settings: Prepare) -> set[int]:
    """Return those of the rows whose texts share an n-gram with the file of known ones."""
    if not known.stat().st_size:
        return set()
    held_out = np.memmap(known, np.uint64, "r")
    found: set[int] = set()
    for some in _few(rows, texts):
        hits = contamination.shared([texts[i] for i in some], settings.decontaminate.ngram, held_out)
        found.update(np.array(some)[hits].tolist())
    return found


def _few(rows: Sequence[int], texts: Sequence[str]) -> Iterator[list[int]]:
    """Yield the rows in small lists: what is computed for all words of some texts takes many times their size."""
    return a_few(rows, lambda row: len(texts[row]), FEW)


def _in_partition(ids: np.ndarray, number: int) -> set[int]:
    """Return the rows of one partition that are among the sorted ids."""
    low, high = np.searchsorted(ids, np.array([number, number + 1], np.uint64) << np.uint64(ROW_BITS))
    return set((ids[low:high] & np.uint64((1 << ROW_BITS) - 1)).tolist())


def _count(tally: Tally, row: Mapping[str, Any], split: str, reason: str | None) -> None:
    """Add a document to the counts of its split and of each of its sources; with a reason, to what was dropped."""
    if reason:
        for source in row["sources"]:
            tally.add("sources", source, "dropped", reason)
        return
    tally.add("splits", split, "all")
    for source in row["sources"]:
        if row["label"] is not None:
            tally.add("labelled", split, source, row["label"])
        if row["ratings"]:
            tally.add("rated", split, source, "several" if len(row["ratings"]) > 1 else "once")
        tally.add("splits", split, source)
        tally.add("sources", source, "documents")
        tally.add("sources", source, "words", count=len(row["text"].split()))
        tally.add("sources", source, "bytes", count=len(row["text"].encode()))
        tally.add("sources", source, "languages", row["language"])


def by_hash(table: pa.Table, partitions: int) -> list[pa.Table]:
    """Return the rows of a table by partition: the interval of all hashes in which their `hash` lies."""
    target = (table["hash"].to_numpy() >> np.uint64(32)) * np.uint64(partitions) >> np.uint64(32)
    return [table.filter(pa.array(target == i)) for i in range(partitions)]


def write_partitions(
    partitions: Sequence[pa.Table | list[dict[str, Any]]], path: Path, schema: pa.Schema
) -> None:
    """Write an Arrow file with a record batch for each partition, each of which can be read alone."""
    with pa.ipc.new_file(str(path), schema) as file:
        for rows in partitions:
            table = pa.Table.from_pylist(rows, schema=schema) if isinstance(rows, list) else rows
            batches = table.combine_chunks().to_batches()
            file.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema))


def read_partition(path: Path, number: int) -> pa.RecordBatch:
    """Return the record batch of one partition."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).get_batch(number)


def read_rows(folders: Sequence[Path], ids: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield the documents of the ids in rising order; of each partition it reads only what the ids name."""
    for number, folder in enumerate(folders):
        wanted = ids[ids >> np.uint64(ROW_BITS) == number] & np.uint64((1 << ROW_BITS) - 1)
        if len(wanted):
            with pa.memory_map(str(folder / "documents")) as file:
                batch = pa.ipc.open_file(file).get_batch(0)
                yield from batch.take(pa.array(wanted)).to_pylist()
