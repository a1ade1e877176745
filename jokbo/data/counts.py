"""What the data stages counted, as it crosses from one stage to the next and to the data card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from jokbo.runtime.files import Saved

Numbers = dict[str, int]  # by name
KNOWN = "start.json"  # in the folder of the model that the chain starts from: a StartingModel


@dataclass(frozen=True)
class FetchedTable:
    """An entry of fetch.sources, and what was read of it."""

    settings: dict[str, Any]  # in params.yaml, without what is secret
    document: str  # what one document of a file is
    rows: Numbers  # by the source that they name
    left_out: Numbers  # texts and files, by reason
    locations: dict[str, list[str]]  # the first of them, by reason


@dataclass(frozen=True)
class Fetched(Saved):
    """What `fetch` read. It is saved beside the raw tables, for the data card."""

    STAGE = "fetch"
    tables: dict[str, FetchedTable]  # by entry of fetch.sources


@dataclass(frozen=True)
class StartingModel(Saved):
    """What is known of the model that the chain starts from. From scratch, only that."""

    STAGE = "fetch"
    kind: str
    source: str | None = None  # its package, commit or folder
    licence: str | None = None
    network: str | None = None  # its class in transformers
    parameters: int | None = None
    layers: int | None = None
    context: int | None = None  # most tokens that it reads at once
    vocabulary: int | None = None
    changed: list[str] = field(default_factory=list)  # what was added or set, and why


@dataclass(frozen=True)
class FetchCounts(Saved):
    """The metrics of `fetch`, by entry of fetch.sources but for `rows_of`."""

    STAGE = "fetch"
    rows: Numbers
    rows_of: Numbers  # by the source that rows name
    too_long: Numbers  # texts
    files_passed_over: Numbers
    no_conversations: Numbers  # rows of conversations that are left out because they are none


@dataclass(frozen=True)
class SourceCounts:
    """The rows of one source, and the documents that they became."""

    rows: int
    documents: int = 0  # that stayed
    words: int = 0  # of the documents that stayed
    bytes: int = 0  # of the documents that stayed, in UTF-8
    repeated: int = 0  # rows with a text that the source had before
    conflicting_labels: int = 0  # documents whose rows have several labels
    dropped: Numbers = field(default_factory=dict)  # rows and documents, by reason
    languages: Numbers = field(default_factory=dict)  # documents that stayed, by language
    masked: Numbers = field(default_factory=dict)  # personal data, by kind


@dataclass(frozen=True)
class Counts(Saved):
    """What `prepare` counted. It is saved beside the documents; `tokenize` and the checks of later stages read it.

    splits: documents by split and source, and `all` of a split. labelled: documents by split, source and label. rated:
    documents by split, source, and whether `several` people rated them or one did (`once`). tables: rows by entry of
    fetch.sources and source.
    examples: by reason, texts that were left out, each after a rank and its source. about: what `fetch` read, by
    entry of fetch.sources.
    """

    STAGE = "prepare"
    merged: int = 0  # rows with the very text of another
    in_several_sources: int = 0  # documents
    conflicting_labels: int = 0  # documents whose rows have several labels
    near_duplicates: int = 0  # documents
    sources: dict[str, SourceCounts] = field(default_factory=dict)
    splits: dict[str, Numbers] = field(default_factory=dict)
    labelled: dict[str, dict[str, Numbers]] = field(default_factory=dict)
    rated: dict[str, dict[str, Numbers]] = field(default_factory=dict)
    tables: dict[str, Numbers] = field(default_factory=dict)
    examples: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    about: dict[str, FetchedTable] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Counts:
        """Return the counts in nested mappings, as jokbo.data.shards gives them."""
        return TypeAdapter(cls).validate_python(tree)

    def metrics(self) -> dict[str, Any]:
        """Return the counts that are metrics of the stage: not the examples, nor what other stages alone read."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("about", "examples", "labelled", "rated")
        }


@dataclass(frozen=True)
class TokenCounts:
    """One pass over the training documents of a source, or over those in a language."""

    documents: int
    bytes: int  # of text, in UTF-8
    characters: int  # without white space
    tokens: int  # an end of text after each document among them
    unknown: int  # tokens that stand for what the tokenizer does not know
    unknown_characters: int


@dataclass(frozen=True)
class MixedCounts(TokenCounts):
    """A source of the mix: one pass over it, and what the mix makes of it."""

    epochs: float  # how often its documents are read
    share: float  # of the tokens of the mix, 0 to 1


@dataclass(frozen=True)
class Tokenized:
    """What `tokenize` counted: for the data card, and as the stage's metrics."""

    vocabulary: int  # tokens of the tokenizer
    sources: dict[str, MixedCounts]
    languages: dict[str, TokenCounts]
    unused: Numbers  # training documents that are in no source of the mix, by source
    held_out: dict[str, dict[str, float]]  # the tokenizer on held-out text, by language (tokenizer.measure)


@dataclass(frozen=True)
class SplitPrompts:
    """What `prompts` took from one split."""

    texts: int
    without: int  # texts that give no prompt
    prompts: int
    left_out: Numbers  # of conversations, those without a prompt, by reason
    shortened: int  # conversations whose oldest turns were left out


@dataclass(frozen=True)
class PromptCounts(Saved):
    """The metrics of `prompts`, by split."""

    STAGE = "prompts"
    train: SplitPrompts
    validation: SplitPrompts
    prompts: SplitPrompts
    test: SplitPrompts
