"""The data card: what the corpus is made of and what was left out of it, from what the stages counted.

It answers what numbers can answer of Gebru et al. 2021 (Datasheets for Datasets): composition, collection,
preprocessing and licences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jokbo.data.counts import Counts, StartingModel, Tokenized
from jokbo.reporting.markdown import table
from jokbo.runtime.files import Saved

COLUMNS = ("rows", "documents", "words", "bytes", "tokens", "epochs")


@dataclass(frozen=True)
class SourceCard:
    """Where the texts of a source are from, and what was counted of them."""

    licences: list[str]
    origins: list[str]  # of its tables
    rows: int
    documents: int
    words: int
    bytes: int
    languages: dict[str, int]
    dropped: dict[str, int]
    repeated: int
    conflicting_labels: int
    not_in_the_mix: int
    masked: dict[str, int]
    tokens: int | None  # of one pass over what the language model reads; None if it reads nothing
    epochs: float | None


@dataclass(frozen=True)
class NotRead:
    """Texts or files of an entry of fetch.sources that were left out for one reason."""

    count: int
    locations: list[str]  # the first of them


@dataclass(frozen=True)
class Example:
    """What was dropped; beside a near-duplicate the text that stayed."""

    source: str
    texts: list[str]


@dataclass(frozen=True)
class DataCard(Saved):
    """The model to start from, what the sources gave, what was left out, the splits, the tokenizer, examples."""

    STAGE = "tokenize"
    start: StartingModel
    sources: dict[str, SourceCard]
    not_read: dict[str, dict[str, NotRead]]  # by entry of fetch.sources and reason
    splits: dict[str, dict[str, int]]
    merged: int
    conflicting_labels: int
    near_duplicates: int
    tokenizer: dict[str, dict[str, float]]  # by language
    examples: dict[str, list[Example]]  # by reason


def card(start: StartingModel, counts: Counts, tokenized: Tokenized) -> DataCard:
    """Return the card of what `fetch` adopted, and `prepare` and `tokenize` counted."""
    return DataCard(
        start=start,
        sources={source: _source(source, counts, tokenized) for source in counts.sources},
        not_read={
            name: {
                reason: NotRead(count, found.locations[reason])
                for reason, count in sorted(found.left_out.items())
            }
            for name, found in counts.about.items()
            if found.left_out
        },
        splits=counts.splits,
        merged=counts.merged,
        conflicting_labels=counts.conflicting_labels,
        near_duplicates=counts.near_duplicates,
        tokenizer=tokenized.held_out,
        examples={
            reason: [Example(source, texts) for _, source, *texts in found]
            for reason, found in counts.examples.items()
        },
    )


def _source(source: str, counts: Counts, tokenized: Tokenized) -> SourceCard:
    found, mixed = counts.sources[source], tokenized.sources.get(source)
    tables = {name: counts.about[name].settings for name, rows in counts.tables.items() if source in rows}
    return SourceCard(
        licences=sorted({settings["licence"] for settings in tables.values()}),
        origins=sorted(origin(name, settings) for name, settings in tables.items()),
        rows=found.rows,
        documents=found.documents,
        words=found.words,
        bytes=found.bytes,
        languages=found.languages,
        dropped=found.dropped,
        repeated=found.repeated,
        conflicting_labels=found.conflicting_labels,
        not_in_the_mix=tokenized.unused.get(source, 0),
        masked=found.masked,
        tokens=mixed.tokens if mixed else None,
        epochs=mixed.epochs if mixed else None,
    )


def origin(name: str, source: Mapping[str, Any]) -> str:
    """Return where a table of rows is from, with what pins it.

    name: its entry in fetch.sources. source: the settings there, without what is secret.
    """
    if source["kind"] == "package":
        return f"{name}: {source['requirement']}, {source['member']}, sha256 {source['sha256'][:12]}"
    if source["kind"] == "hub":
        return f"{name}: {source['dataset']}, split {source['split']}, revision {source['revision'][:12]}"
    return f"{name}: {source['paths']}" + (f", sha256 {source['sha256'][:12]}" if source["sha256"] else "")


def text(card: DataCard) -> str:
    """Return the card as a page, in markdown."""
    parts = [
        "# Data card",
        "Written by the stage `tokenize` from what it and the stages before it counted.",
        *_start(card.start),
        *_sources(card.sources),
        *_left_out(card),
        *_not_read(card.not_read),
        *_by_source(card),
        *_tokenizer(card.tokenizer),
        *_examples(card.examples),
    ]
    return "\n\n".join(parts) + "\n"


def _start(start: StartingModel) -> list[str]:
    if start.kind == "scratch":
        return []
    sizes = (
        f"{number(start.parameters)} parameters, {start.layers} layers, a context of {number(start.context)}"
    )
    return [
        "## The model that it starts from",
        f"`{start.source}`: {start.network}, {sizes}, a vocabulary of {number(start.vocabulary)}. Licence: "
        f"{start.licence}.",
        *start.changed,
    ]


def _sources(sources: Mapping[str, SourceCard]) -> list[str]:
    return [
        "## Sources",
        table(
            ("source", *COLUMNS, "languages"),
            (
                (name, *(number(getattr(found, key)) for key in COLUMNS), shares(found.languages))
                for name, found in sources.items()
            ),
        ),
        "Words and bytes are of the documents that stayed; tokens are of those in the training split. A document "
        "that is in several sources counts in each. Only sources that the language model reads have tokens and epochs.",
        "## Origin and licence",
        table(
            ("source", "from", "licence"),
            ((name, "; ".join(found.origins), "; ".join(found.licences)) for name, found in sources.items()),
        ),
    ]


def _left_out(card: DataCard) -> list[str]:
    sources = card.sources
    return [
        "## What was left out",
        f"{number(card.merged)} rows have the very text of another row and joined its document; "
        f"{number(card.conflicting_labels)} such documents have both labels and are kept without one. "
        f"Near-duplicates found: {number(card.near_duplicates)} documents.",
        table(("reason", *sources), dropped(sources)),
        "Of each source, rows that repeat a text of it, documents whose rows have both labels, and documents of the "
        "training split that are in no source of the language model's mix:",
        table(
            ("what", *sources),
            (
                (what.replace("_", " "), *(number(getattr(found, what)) for found in sources.values()))
                for what in ("repeated", "conflicting_labels", "not_in_the_mix")
            ),
        ),
    ]


def _not_read(not_read: Mapping[str, Mapping[str, NotRead]]) -> list[str]:
    return [
        "## What was not read",
        "Of each entry of `fetch.sources`: files that were passed over, and texts longer than `fetch.maximum_bytes`.",
        table(
            ("entry", "reason", "count", "such as"),
            (
                (name, reason, number(some.count), ", ".join(some.locations))
                for name, found in not_read.items()
                for reason, some in found.items()
            ),
        ),
    ]


def _by_source(card: DataCard) -> list[str]:
    sources = card.sources
    kinds = sorted({kind for found in sources.values() for kind in found.masked})
    return [
        "## Personal data masked",
        table(
            ("kind", *sources),
            ((kind, *(number(found.masked.get(kind)) for found in sources.values())) for kind in kinds),
        ),
        "## Splits",
        table(
            ("split", "documents", *sources),
            (
                (split, *(number(found.get(name)) for name in ("all", *sources)))
                for split, found in card.splits.items()
            ),
        ),
    ]


def _tokenizer(measured: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        "## The tokenizer on held-out text",
        table(
            ("language", "bytes a token", "unknown tokens", "unknown characters", "come back exactly"),
            (
                (
                    code,
                    f"{found['bytes_per_token']:.2f}",
                    f"{found['unknown']:.2%}",
                    f"{found['unknown_characters']:.2%}",
                    f"{found['round_trip']:.1%}",
                )
                for code, found in measured.items()
            ),
        ),
    ]


def _examples(examples: Mapping[str, Sequence[Example]]) -> list[str]:
    parts = [
        "## Examples of what was dropped",
        "Personal data are masked here, even if the corpus keeps them. Raw rows, in data/raw, are as they came.",
    ]
    for reason, found in examples.items():
        lines = "\n".join(f"- {example.source}: {quoted(example)}" for example in found)
        parts += [f"### {reason}", lines]
    return parts


def dropped(sources: Mapping[str, SourceCard]) -> Iterable[tuple[str, ...]]:
    """Yield a row for each reason: how many documents of each source were dropped."""
    for reason in sorted({reason for found in sources.values() for reason in found.dropped}):
        yield reason, *(number(found.dropped.get(reason)) for found in sources.values())


def quoted(example: Example) -> str:
    """Return the texts of an example on one line, as code, so that nothing in them is taken for markdown."""
    return " instead of ".join(f"`{' '.join(text.replace('`', chr(39)).split())}`" for text in example.texts)


def shares(counts: Mapping[str, int]) -> str:
    """Return names with their share of all counts, in percent."""
    whole = sum(counts.values())
    return ", ".join(f"{name} {count / whole:.1%}" for name, count in sorted(counts.items()))


def number(value: float | None) -> str:
    """Return a number with commas; nothing for None."""
    return "" if value is None else f"{value:,}"
